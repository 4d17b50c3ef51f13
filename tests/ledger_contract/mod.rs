//! Tests that every ledger must pass, in terms of the port alone. An adapter states how an empty ledger is opened:
//!
//! ```ignore
//! async fn open() -> (Arc<dyn Ledger>, impl Sized) { … }   // and a value that must outlive the ledger
//! ledger_contract!(open);
//! ```
//!
//! Each test gets a ledger of its own, in which the countries `pe` and `cl` are empty.

mod agendas;
mod changes;
mod holds;
mod model;
mod outbox;
mod pages;
mod patient_links;
mod places;
mod privacy_requests;
mod races;
mod receipts;
mod stored;
mod wakes;

pub use agendas::*;
pub use changes::*;
pub use holds::*;
pub use model::*;
pub use outbox::*;
pub use pages::*;
pub use patient_links::*;
pub use places::*;
pub use privacy_requests::*;
pub use races::*;
pub use receipts::*;
pub use stored::*;
pub use wakes::*;

/// Adds every test of the suite to the calling module.
macro_rules! ledger_contract {
    ($open:path) => {
        $crate::ledger_contract::each! { $open;
            a_booking_is_read_back_as_it_was_written
            what_was_never_stored_is_absent
            every_kind_of_value_is_read_back_exactly
            sixty_kilobytes_of_attributes_are_read_back_exactly
            a_taken_claim_refuses_the_whole_change
            a_stale_change_is_refused_whole
            a_used_key_refuses_the_whole_change
            of_several_reasons_the_first_is_given
            a_first_revision_is_stored_once
            a_revision_follows_the_latest
            a_released_claim_is_free
            a_reschedule_takes_and_releases_in_one_change
            a_refused_reschedule_keeps_what_it_held
            revisions_stay_as_they_were_written
            countries_are_apart
            taken_says_which_of_the_claims_are_held_and_by_which_appointment
            taken_says_what_is_held_of_the_time_of_several_resources_in_a_month
            an_event_is_notified_once_it_is_marked
            an_empty_ledger_is_ready
            a_ledger_with_appointments_is_ready
            of_two_hundred_who_want_ten_places_ten_get_one_each
            a_claim_gets_the_lowest_place_that_is_free
            an_appointment_keeps_its_place_whatever_the_limit_is_now
            of_choices_the_first_that_is_wholly_free_is_taken
            a_choice_that_is_held_stays_and_another_releases_it
            of_forty_who_want_any_of_three_rooms_three_get_one_each
            claims_on_the_same_minute_of_two_resources_are_two
            of_fifty_who_want_one_claim_one_gets_it
            of_overlapping_claims_no_two_are_held
            disjoint_claims_do_not_hinder_each_other
            of_fifty_changes_of_one_revision_one_is_stored
            of_fifty_who_use_one_key_one_is_stored
            a_stored_change_is_seen_by_every_later_read
            a_receipt_is_read_back_until_it_expires
            a_key_can_be_used_again_once_it_has_expired
            a_key_is_used_until_the_instant_at_which_it_expires
            a_page_is_in_the_order_of_start_then_id
            without_a_start_sorts_last
            a_page_holds_at_most_its_limit_and_the_last_one_says_so
            each_filter_leaves_what_meets_it
            filters_together_leave_what_meets_all
            what_nobody_owns_is_left_by_a_filter_of_its_own
            from_is_included_and_to_is_not
            a_date_is_that_of_the_place
            a_descending_page_is_the_reverse_of_an_ascending_one
            a_cursor_outlives_its_item
            a_page_shows_the_latest_revision
            nothing_listed_is_an_empty_page
            an_agenda_is_read_back_as_it_was_written
            an_agenda_follows_its_latest_revision
            agendas_are_listed_by_the_doctors_keys_each_as_it_is_now
            the_stamp_of_the_agendas_changes_with_each_revision
            a_change_is_stored_if_the_agenda_is_the_one_that_was_seen
            of_a_changed_agenda_and_other_reasons_the_first_is_given
            of_twenty_who_put_one_revision_one_is_stored_and_bookings_see_it_or_not
            a_link_is_read_back_as_it_was_written
            a_link_follows_its_latest_revision_and_the_links_of_its_account
            the_links_of_an_account_are_those_that_have_not_ended
            the_links_to_a_person_are_listed_each_as_it_is_now
            requests_are_listed_the_oldest_first_until_they_are_answered
            of_twenty_who_change_the_links_of_an_account_at_once_one_is_stored
            a_privacy_request_is_read_back_at_each_step
            a_step_follows_the_one_before
            privacy_requests_are_listed_by_the_time_of_the_answer
            of_twenty_steps_at_once_one_is_stored
            a_hold_is_read_back_as_it_was_stored
            a_hold_keeps_its_claims_from_everybody_until_the_instant_at_which_it_ends
            an_expired_hold_gives_way_to_another_and_its_end_leaves_that_one_alone
            a_dropped_hold_frees_its_places_at_once
            a_hold_passes_to_the_appointment_and_ends
            a_refused_change_leaves_its_hold
            the_place_and_the_choice_of_a_hold_pass_to_the_appointment
            a_move_takes_the_place_of_its_hold_and_releases_its_own
            of_a_host_with_a_slow_clock_and_one_with_a_fast_clock_one_gets_the_place
            a_booking_at_the_instant_of_a_holds_end_competes_with_every_other
            of_twenty_holds_of_one_account_at_once_three_are_stored
            of_holds_and_bookings_at_once_ten_get_the_ten_places
            a_used_key_refuses_a_hold
            random_changes_agree_with_a_model
        }
    };
}
pub(crate) use ledger_contract;

/// Adds the tests of a polled outbox to the calling module. `open` returns the two ports of one ledger.
macro_rules! outbox_contract {
    ($open:path) => {
        $crate::ledger_contract::each! { $open;
            events_of_one_appointment_are_pending_one_at_a_time_in_the_order_of_its_changes
            many_events_behind_one_keep_no_other_appointment_from_view
            a_refused_change_has_no_events
            an_event_is_pending_until_it_is_removed
            a_removed_event_that_is_removed_again_is_no_error
            pending_gives_at_most_its_limit_oldest_first
            attempts_are_kept_until_the_event_is_removed
            outboxes_are_apart
            who_waits_is_woken_by_an_event
            an_event_that_came_before_the_wait_wakes_too
        }
    };
}
pub(crate) use outbox_contract;

/// Adds the tests of an index of scheduled actions to the calling module. `open` returns the two ports of one ledger.
macro_rules! wakes_contract {
    ($open:path) => {
        $crate::ledger_contract::each! { $open;
            an_action_is_due_from_its_time_on_and_the_oldest_is_first
            an_action_stays_due_until_another_revision_is_stored
            a_later_revision_replaces_the_action
            a_postponed_action_is_due_again_with_its_failures
            an_ended_action_is_not_due_and_the_revision_stays_as_it_was
        }
    };
}
pub(crate) use wakes_contract;

/// Adds the tests of stored data to the calling module. `open` returns a ledger and a view of its [`Stored`] data.
macro_rules! stored_contract {
    ($open:path) => {
        $crate::ledger_contract::each! { $open;
            revisions_are_numbered_in_the_order_of_their_commits_without_a_gap
            revisions_that_are_stored_at_once_have_a_number_each
            no_open_row_has_a_personal_value
            an_erased_revision_is_read_without_its_personal_part
            an_erased_link_is_read_without_its_personal_part
            an_erased_privacy_request_is_read_without_its_texts
        }
    };
}
pub(crate) use stored_contract;

macro_rules! each {
    ($open:path; $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let (subject, _kept) = $open().await;
                $crate::ledger_contract::$name(subject).await;
            }
        )*
    };
}
pub(crate) use each;
