use super::*;

fn drain(table: &mut Table<()>) -> Vec<String> {
    std::iter::from_fn(|| table.poll_output())
        .map(|step| describe(&step.output))
        .collect()
}

#[test]
fn full_table_refuses_and_has_room_again_when_one_ends() {
    let mut table = table(2);
    let options = |branch: &str| request("OPTIONS", branch);
    let first = table
        .serve(Now::ZERO, &options("z9hG4bK1"), TCP, ())
        .unwrap();
    table
        .serve(Now::ZERO, &options("z9hG4bK2"), TCP, ())
        .unwrap();
    assert_eq!(
        table.serve(Now::ZERO, &options("z9hG4bK3"), TCP, ()),
        Err(Refused::Full)
    );
    table
        .send(Now::ZERO, &request("BYE", "z9hG4bK4"), TCP, ())
        .expect("requests of ours have room of their own");
    table.respond(Now::ZERO, first, 200, Bytes::new()).unwrap();
    table
        .serve(Now::ZERO, &options("z9hG4bK3"), TCP, ())
        .unwrap();
    assert_eq!(
        table.census(),
        TableCensus {
            server_requests: 2,
            client_requests: 1,
            ..TableCensus::default()
        }
    );
}

#[test]
fn same_request_is_never_in_two_transactions() {
    let mut table = table(5);
    let invite = request("INVITE", "z9hG4bK1");
    table.serve(Now::ZERO, &invite, UDP, ()).unwrap();
    assert_eq!(
        table.serve(Now::ZERO, &invite, UDP, ()),
        Err(Refused::Duplicate)
    );
    table.send(Now::ZERO, &invite, UDP, ()).unwrap();
    assert_eq!(
        table.send(Now::ZERO, &invite, UDP, ()),
        Err(Refused::Duplicate)
    );
}

#[test]
fn cancel_finds_its_invite_and_has_a_transaction_of_its_own() {
    let mut table = table(5);
    let invite = table
        .serve(Now::ZERO, &request("INVITE", "z9hG4bK1"), UDP, ())
        .unwrap();
    let cancel = request("CANCEL", "z9hG4bK1");
    assert_eq!(table.handle_request(Now::ZERO, &cancel), None);
    assert_eq!(table.invite_of(&cancel), Some(invite));
    assert_eq!(table.invite_of(&request("CANCEL", "z9hG4bK2")), None);
    let own = table.serve(Now::ZERO, &cancel, UDP, ()).unwrap();
    assert_eq!(table.handle_request(Now::ZERO, &cancel), Some(own));
}

#[test]
fn only_a_ringing_invite_can_be_cancelled() {
    let mut table = table(5);
    let id = table
        .send(Now::ZERO, &request("INVITE", "z9hG4bK1"), UDP, ())
        .unwrap();
    assert!(!table.can_cancel(id));
    table.handle_response(Now::ZERO, &response(180, "INVITE", "z9hG4bK1"));
    assert!(table.can_cancel(id));
    table.handle_response(Now::ZERO, &response(200, "INVITE", "z9hG4bK1"));
    assert!(!table.can_cancel(id));
}

#[test]
fn same_call_by_another_path_is_merged_while_the_first_lives() {
    let mut table = table(5);
    let first = table
        .serve(Now::ZERO, &request("INVITE", "z9hG4bK1"), TCP, ())
        .unwrap();
    let second = request("INVITE", "z9hG4bK2");
    assert_eq!(table.handle_request(Now::ZERO, &second), None);
    assert!(table.is_merged(&second));
    table.respond(Now::ZERO, first, 486, Bytes::new()).unwrap();
    assert!(table.is_merged(&second));
    table.handle_request(Now::ZERO, &request("ACK", "z9hG4bK1"));
    assert!(!table.is_merged(&second));
}

#[test]
fn failed_message_finds_the_transaction_that_sent_it() {
    let mut table = table(5);
    let bye = table
        .send(Now::ZERO, &request("BYE", "z9hG4bK1"), UDP, ())
        .unwrap();
    let invite = table
        .serve(Now::ZERO, &request("INVITE", "z9hG4bK2"), UDP, ())
        .unwrap();
    assert_eq!(table.sender_of(&request("BYE", "z9hG4bK1")), Some(bye));
    assert_eq!(
        table.sender_of(&response(180, "INVITE", "z9hG4bK2")),
        Some(invite)
    );
    assert_eq!(
        table.sender_of(&response(200, "BYE", "z9hG4bK1")),
        None,
        "a response to our request is not ours"
    );
}

#[test]
fn deadlines_of_many_transactions_come_in_order_and_leave_nothing() {
    let mut table = table(10_000);
    for n in 0..2_000_u64 {
        let at = Now::from_millis(n * 7 % 500);
        table
            .send(at, &request("BYE", &format!("z9hG4bK{n}")), UDP, ())
            .unwrap();
    }
    drain(&mut table);
    let (mut last, mut timeouts) = (Now::ZERO, 0);
    while let Some(due) = table.poll_timeout() {
        assert!(due >= last);
        last = due;
        table.handle_timeout(due);
        timeouts += drain(&mut table)
            .iter()
            .filter(|line| *line == "time out")
            .count();
    }
    assert_eq!(timeouts, 2_000);
    assert_eq!(table.census(), TableCensus::default());
    assert!(table.is_bare());
}

#[test]
fn late_clock_fires_each_timer_once() {
    let mut table = table(5);
    table
        .send(Now::ZERO, &request("INVITE", "z9hG4bK1"), UDP, ())
        .unwrap();
    assert_eq!(drain(&mut table), ["send INVITE"]);
    table.handle_timeout(Now::from_millis(20_000));
    assert_eq!(drain(&mut table), ["send INVITE"]);
    table.handle_timeout(Now::from_millis(200_000));
    assert_eq!(drain(&mut table), ["time out", "end"]);
}

#[test]
fn context_goes_with_every_step_and_finds_transactions() {
    let limits = Limits {
        clients: 5,
        servers: 5,
    };
    let mut table: Table<u8> = Table::new(Timers::default(), limits, [1; 16]);
    let one = table
        .send(Now::ZERO, &request("BYE", "z9hG4bK1"), UDP, 1)
        .unwrap();
    let two = table
        .send(Now::ZERO, &request("BYE", "z9hG4bK2"), UDP, 2)
        .unwrap();
    assert_eq!(table.find(|context| *context > 0), [one, two]);
    *table.context_mut(two).unwrap() = 9;
    table.handle_failure(two);
    let contexts: Vec<u8> = std::iter::from_fn(|| table.poll_output())
        .map(|step| step.context)
        .collect();
    assert_eq!(contexts, [1, 2, 9, 9]);
    assert_eq!(table.context(two), None);
}
