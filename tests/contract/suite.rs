//! The promises of [`pubsub::Backplane`], a check for each. A check gets three nodes of one backplane, uses only names of its
//! own, waits for facts, and knows nothing of how the promise is kept.

pub mod append;
pub mod attendance;
pub mod channel;
pub mod chat;
pub mod deadlines;
pub mod feed;
pub mod matchmaking;
pub mod node;
pub mod queue;
pub mod records;
pub mod restore;

/// Hands the list of all checks to a macro.
macro_rules! checks {
    ($then:ident, $($with:tt)*) => {
        $then! {
            $($with)*,
            append {
                the_first_append_creates_the_log
                answers_are_told_apart
                already_appended_needs_all_the_bytes
                a_time_too_far_ahead_is_refused
                one_of_many_appenders_wins_each_number
                every_node_reads_what_any_has_written
                hostile_bytes_come_back_unchanged
                hostile_names_are_refused
                a_long_log_is_read_from_anywhere
            }
            restore {
                a_log_that_is_gone_comes_back
                a_log_that_lost_its_end_gets_it_back
                a_log_that_holds_all_is_left_alone
                of_two_branches_the_logs_holds_under_a_new_life
                the_higher_generation_is_the_true_one
                a_restored_log_goes_on
                many_restore_at_once
                hostile_and_long_logs_come_back
            }
            channel {
                the_same_bytes_come_in_order_to_every_node
                refused_appends_are_not_heard
                messages_come_to_those_who_listen
                hostile_bytes_are_heard_unchanged
                a_subscription_ends_and_begins_again
                one_listener_leaving_does_not_silence_another
                a_listener_who_is_busy_is_told_to_resynchronise
                many_rooms_are_heard_at_once
            }
            chat {
                lines_are_kept_in_order_up_to_a_cap
                only_what_is_said_is_kept
                hostile_lines_are_kept_unchanged
            }
            deadlines {
                rooms_are_swept_when_due
                a_deadline_moves_with_each_append
                an_append_refused_moves_no_deadline
                a_restored_log_has_its_deadline
                one_node_sweeps_a_room_at_a_time
                the_earliest_come_first_up_to_a_limit
            }
            attendance {
                counts_of_all_nodes_are_added_up
                a_node_that_leaves_is_subtracted
                a_node_that_died_leaves_no_ghosts
                absence_counts_from_leaving
                absence_starts_anew_after_a_gap
                mere_numbers_are_told_once_a_second
                four_groups_are_counted
            }
            queue {
                what_is_appended_is_taken_once_and_in_order
                an_entry_held_back_holds_the_watermark_back
                what_a_dead_consumer_took_is_reclaimed
                one_consumer_reads_at_a_time
                whoever_waits_is_told
                the_end_of_a_queue_covers_a_room
                what_is_over_and_archived_is_forgotten
            }
            records {
                a_record_is_the_same_on_every_node
                a_record_lapses
                one_of_many_puts_wins
                hostile_values_come_back_unchanged
                a_set_knows_its_members_in_order
                members_lapse_each_for_himself
            }
            matchmaking {
                a_seeker_waits_and_the_next_is_offered_to_him
                seeks_of_one_user_are_never_paired
                the_longest_waiting_comes_first
                a_lapsed_seek_is_never_paired
                a_lapsed_seek_behind_a_live_one_is_never_paired
                a_renewed_seek_lives_on
                a_cancelled_seek_is_never_paired
                pools_are_apart
                a_repeated_seek_is_the_same_seek
                a_refused_offer_is_over
                a_withdrawn_offer_is_over
                an_offer_lapses
                an_accepted_offer_stays_accepted
                seeking_again_refuses_an_offer
                a_pairing_lapses
                accepting_and_settling_agree
                nobody_is_paired_twice
            }
            node {
                clocks_agree_and_go_on
                all_nodes_are_ready
            }
            feed {
                every_node_sees_the_same_dense_room
                catching_up_sees_what_was_answered
            }
        }
    };
}
pub(crate) use checks;
