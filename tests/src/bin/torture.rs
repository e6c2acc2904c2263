//! `torture UDP TCP [FOLDER…]`: plays torture messages to a gateway that runs at these addresses.
//! Without a folder, those of `tests/torture` with their verdicts; else every file of the folders,
//! where it fails if the gateway dies, answers a response, or answers more than once.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a tool of tests"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use stories::torture::{Player, Until, folder, judge_datagram, judge_stream, rows};

/// How long an INVITE's branch is known after its ACK over UDP (timer I), and a little.
const FORGOTTEN: Duration = Duration::from_millis(5500);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let address = |at: usize| -> SocketAddr { arguments[at].parse().expect("an address") };
    let player = Player {
        udp: address(0),
        tcp: address(1),
    };
    let mut bad = 0;
    for path in &arguments[2..] {
        bad += play(&player, Path::new(path));
    }
    if arguments.len() == 2 {
        bad = own(&player);
    }
    ExitCode::from(u8::from(bad > 0))
}

/// Plays the messages of `tests/torture`; gives how many have another verdict than theirs.
fn own(player: &Player) -> usize {
    let rows = rows(&folder(env!("CARGO_MANIFEST_DIR")));
    let mut wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| judge_datagram(player, row).unwrap())
        .collect();
    std::thread::sleep(FORGOTTEN);
    wrong.extend(
        rows.iter()
            .filter_map(|row| judge_stream(player, row).unwrap()),
    );
    wrong.iter().for_each(|line| println!("{line}"));
    println!(
        "torture: {} messages over UDP and TCP, {} with another verdict",
        rows.len(),
        wrong.len()
    );
    wrong.len()
}

/// Plays every file of a folder and prints what came of it; gives how many went wrong.
fn play(player: &Player, path: &Path) -> usize {
    let entries = std::fs::read_dir(path)
        .expect("a folder")
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    let read = |file: &PathBuf| std::fs::read(file).unwrap();
    let over_udp: Vec<_> = files
        .iter()
        .map(|file| {
            player
                .datagram(&read(file), read(file).starts_with(b"INVITE"))
                .unwrap()
        })
        .collect();
    std::thread::sleep(FORGOTTEN);
    let mut bad = 0;
    for (file, udp) in files.iter().zip(over_udp) {
        let bytes = read(file);
        let tcp = player.stream(&[&bytes], Until::Silence, 0).unwrap();
        let answered = !udp.answers.is_empty() || !tcp.answers.is_empty();
        let wrong = !udp.alive
            || !tcp.alive
            || udp.answers.len() > 1
            || (bytes.starts_with(b"SIP/") && answered);
        bad += usize::from(wrong);
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let mark = if wrong { " WRONG" } else { "" };
        println!("| {name} | {udp} | {tcp} |{mark}");
    }
    bad
}
