//! The bundled sample is what its parameters say, and its golden results are what the reference books say.

use std::path::Path;
use tickcore_feed::session::SessionDate;
use tickcore_replay_data::generate::generate_to_vec;
use tickcore_replay_data::golden::Golden;
use tickcore_replay_data::sample;

fn decompressed() -> Vec<u8> {
    zstd::stream::decode_all(sample::bytes()).expect("one zstd frame")
}

#[test]
fn the_sample_is_what_the_generator_makes_of_its_parameters() {
    let made = generate_to_vec(sample::PARAMETERS).expect("good parameters");
    assert!(made == decompressed(), "run the example make_sample after a change of the generator");
}

#[test]
fn the_file_is_there_and_of_the_size_a_repository_can_bear() {
    let file = std::fs::read(sample::path()).expect("the sources are where they were built");
    assert!(file == sample::bytes());
    assert!((1_000_000..2_000_000).contains(&file.len()), "{} bytes", file.len());
}

#[test]
fn the_golden_results_are_those_of_the_reference_books() {
    let date = SessionDate::from_file_name(Path::new(sample::FILE_NAME)).expect("the name has the date");
    let golden = Golden::of_itch(&decompressed(), Some(date.midnight())).expect("a whole file");
    assert_eq!(golden, sample::golden(), "run the example make_sample after a change of events or digests");
    assert_eq!(golden.messages, sample::PARAMETERS.messages);
    assert_eq!(golden.instruments, sample::PARAMETERS.instruments);
    assert_eq!(golden.anomalies, 0);
    assert_eq!(golden.messages_by_type.len(), 23);
}

#[test]
fn another_session_date_gives_another_stream_but_the_same_books() {
    let golden = Golden::of_itch(&decompressed(), None).expect("a whole file");
    assert_ne!(golden.stream_digest, sample::golden().stream_digest);
    assert_eq!(golden.state_digest, sample::golden().state_digest);
}
