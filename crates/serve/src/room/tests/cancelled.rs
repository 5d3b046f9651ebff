//! Requests that end before their answers.

use std::sync::mpsc::channel;

use super::*;

#[tokio::test]
async fn an_image_of_a_dropped_request_is_not_computed() {
    let lab = Lab::new(&settings());
    let (started, opener) = lab.network.gated();
    let mut first = Box::pin(lab.logits(gray(1)));
    assert!(polled(first.as_mut()).await.is_pending());
    started.recv().unwrap();
    let mut dropped = Box::pin(lab.logits(gray(2)));
    let mut last = Box::pin(lab.logits(gray(3)));
    assert!(polled(dropped.as_mut()).await.is_pending());
    assert!(polled(last.as_mut()).await.is_pending());
    lab.counts_images("queued", 3);
    drop(dropped);
    lab.counts_images("queued", 2);
    lab.counts_images("cancelled_total", 1);
    // The place is free at once.
    let rest = (0..15).map(|_| image(gray(4))).collect::<Vec<_>>();
    assert!(lab.model.logits(rest).await.is_err());
    let rest = (0..14).map(|_| image(gray(4))).collect::<Vec<_>>();
    let mut rest = Box::pin(lab.model.logits(rest));
    assert!(polled(rest.as_mut()).await.is_pending());
    drop(rest);
    // The request in the running pass ends too.
    drop(first);
    drop(opener);
    last.await.unwrap().unwrap();
    assert_eq!(lab.network.batches(), [1, 1]);
    // Dropped images had left the queue before the second batch.
    lab.counts("classify_batch_images_sum{model=\"digits\"} 2.0");
    lab.counts_images("answered_total", 1);
    lab.counts_images("cancelled_total", 16);
    lab.counts_images("queued", 0);
}

#[tokio::test]
async fn an_image_of_a_dropped_request_is_not_decoded() {
    let lab = Lab::new(&settings());
    // The only decoder is busy.
    let (free, is_free) = channel::<()>();
    let decoders = lab.decoders.clone();
    let mut busy = Box::pin(decoders.run(move || is_free.recv().is_err()));
    assert!(polled(busy.as_mut()).await.is_pending());
    let mut dropped = Box::pin(lab.logits(large(1)));
    let mut explained = Box::pin(lab.model.explain(large(1).into(), None));
    let mut last = Box::pin(lab.logits(large(2)));
    assert!(polled(dropped.as_mut()).await.is_pending());
    assert!(polled(explained.as_mut()).await.is_pending());
    assert!(polled(last.as_mut()).await.is_pending());
    drop(dropped);
    drop(explained);
    drop(free);
    assert!(busy.await.unwrap());
    last.await.unwrap().unwrap();
    lab.counts("classify_decode_seconds_count{model=\"digits\"} 1");
    assert_eq!(lab.network.batches(), [1]);
    lab.counts_images("cancelled_total", 2);
}

/// A batch waits for an image on its way. When that image's request ends, the batch is sent.
#[tokio::test]
async fn a_batch_does_not_wait_for_a_dropped_image() {
    let lab = Lab::new(&settings());
    let (free, is_free) = channel::<()>();
    let decoders = lab.decoders.clone();
    let mut busy = Box::pin(decoders.run(move || is_free.recv().is_err()));
    assert!(polled(busy.as_mut()).await.is_pending());
    let mut coming = Box::pin(lab.logits(large(1)));
    assert!(polled(coming.as_mut()).await.is_pending());
    let mut ready = Box::pin(lab.logits(gray(1)));
    assert!(polled(ready.as_mut()).await.is_pending());
    drop(coming);
    ready.await.unwrap().unwrap();
    drop(free);
    assert!(busy.await.unwrap());
}
