//! One module per story.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cognitive_complexity,
    clippy::print_stdout,
    reason = "helpers of tests fail tests, and each assertion counts as a branch"
)]

mod agent_leaves_no_caller_alone;
mod attacks_on_a_call_change_nothing;
mod audio_is_heard_without_a_gap;
mod bad_arrival_gets_its_status;
mod bridged_audio_is_what_was_said;
mod bridged_legs_are_one_session;
mod call_brings_its_context_in_headers;
mod call_is_handed_back_by_bye;
mod call_is_handed_back_by_invite;
mod call_is_handed_back_by_refer;
mod caller_may_hang_up_at_any_moment;
mod digest_trunk_proves_who_it_is;
mod full_or_leaving_gateway_takes_no_call;
mod hosts_in_a_dialog_are_found_by_dns;
mod keys_reach_the_result;
mod nothing_is_left_after_the_calls;
mod outbound_proxy_is_a_strict_router;
mod promise_outlives_the_process;
mod request_inside_the_call_gets_its_status;
mod return_target_is_found_by_dns;
mod servers_are_located_by_dns;
mod torture_messages_get_their_verdicts;
mod trunk_is_asked_whether_it_is_there;
mod websocket_agent_holds_the_call;
