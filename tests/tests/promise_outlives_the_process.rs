//! A 200 to a registration is a promise: the transfer is there after `kill -9`, and a call that was
//! lost with the process goes back to the customer.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use stories::{Call, Lab, Transport};

const FOLDER: &str = "HANDBACK_STORY_FOLDER";
const NAME: &str = "promise_outlives_the_process::gateway_that_is_killed";
const PROMISED: &str = "promised:";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that the story below starts and kills"]
async fn gateway_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let lab = Lab::in_folder(&folder, &[]).await;
    let _call = Call::registered(&lab, Transport::Udp, "in-a-call").await;
    for number in 0.. {
        let id = format!("kept-{number}");
        lab.register(&id, json!({})).await;
        println!("\n{PROMISED}{id}");
    }
}

/// Starts this very program for the story above.
fn start(folder: &Path) -> Child {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    command
        .args(["--exact", "--ignored", "--nocapture", NAME])
        .env(FOLDER, folder)
        .stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// Reads promises up to the last before the kill, which comes after this many.
fn promises_until_killed(mut process: Child, after: usize) -> Vec<String> {
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut promises = Vec::new();
    for line in lines.map(Result::unwrap) {
        promises.extend(line.strip_prefix(PROMISED).map(str::to_owned));
        if promises.len() == after {
            // SIGKILL: no handler runs, nothing is flushed.
            process.kill().unwrap();
        }
    }
    process.wait().unwrap();
    promises
}

#[tokio::test(flavor = "multi_thread")]
async fn registered_transfers_are_there_after_kill_9_and_the_lost_call_is_handed_back() {
    let folder =
        std::env::temp_dir().join(format!("handback-stories-killed-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.clone();
    let promises = tokio::task::spawn_blocking(move || promises_until_killed(start(&path), 25));
    let promises = promises.await.unwrap();
    assert!(promises.len() >= 25, "{promises:?}");

    let lab = Lab::in_folder(&folder, &[]).await;
    for id in &promises {
        lab.assert_unclaimed(id).await;
    }
    let lost = lab.until_status("in-a-call", "COMPLETED").await;
    let output = &lost["outputContext"];
    assert_eq!(output["transferType"], "AGENT", "{lost}");
    assert_eq!(
        output["transferVariables"]["hookFailure"], "node lost",
        "{lost}"
    );
    let mut call = Call::place(&lab, Transport::Udp, &promises[0]).await;
    call.hang_up().await;
    lab.until_completed_without_output(&promises[0]).await;
    std::fs::remove_dir_all(&folder).unwrap();
}
