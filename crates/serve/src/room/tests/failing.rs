//! Panics and failures of a network and of a decoder.

use super::scripted::{NOT_FINITE, PANICS};
use super::*;

#[tokio::test]
async fn a_failure_is_of_one_request_and_the_server_goes_on() {
    let lab = Lab::new(&settings());
    let (started, opener) = lab.network.gated();
    let mut first = Box::pin(lab.logits(gray(1)));
    assert!(polled(first.as_mut()).await.is_pending());
    started.recv().unwrap();
    // These share a batch.
    let values = [2, PANICS, 3, NOT_FINITE, 4];
    let mut others = values.map(|value| Box::pin(lab.logits(gray(value))));
    for other in &mut others {
        assert!(polled(other.as_mut()).await.is_pending());
    }
    drop(opener);
    first.await.unwrap().unwrap();
    let classifier = Scripted::new(1).classifier();
    for (value, other) in values.into_iter().zip(others) {
        match (value, other.await) {
            (PANICS, Err(Refused::Panicked(text))) => {
                assert!(text.contains("as the test says"), "{text}");
            }
            (NOT_FINITE, Err(Refused::Failed(error))) => assert!(!error.is_usage()),
            (value, answer) => {
                let row = expected(&classifier, &gray(value));
                assert_eq!(answer.unwrap().unwrap(), row);
            }
        }
    }
    lab.logits(gray(5)).await.unwrap().unwrap();
    assert_eq!(lab.network.batches(), [1, 5, 1, 1, 1, 1, 1, 1]);
    lab.counts("classify_images_refused_total{model=\"digits\",reason=\"failed\"} 2");
    lab.counts_images("answered_total", 5);
    lab.counts_images("queued", 0);
}

#[tokio::test]
async fn a_panic_in_a_decoder_frees_it() {
    let decoders = Decoders::new(1);
    for text in ["once", "twice"] {
        let refused = decoders.run(move || -> u8 { panic!("{text}") }).await;
        assert!(matches!(refused, Err(Refused::Panicked(found)) if found == text));
    }
    assert_eq!(decoders.run(|| 7).await.unwrap(), 7);
}
