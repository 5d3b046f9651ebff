//! The bounded queue, batches, and the end of a model.

use super::*;
use crate::Server;

fn is_full(refused: &Refused) -> bool {
    matches!(refused, Refused::Full { .. })
}

#[tokio::test]
async fn a_request_takes_all_its_places_or_none() {
    let four = Settings {
        queue: number(4),
        ..settings()
    };
    let lab = Lab::new(&four);
    let images = |count| (0..count).map(|_| image(gray(1))).collect::<Vec<_>>();
    let (_, opener) = lab.network.gated();
    let mut three = Box::pin(lab.model.logits(images(3)));
    assert!(polled(three.as_mut()).await.is_pending());
    lab.counts_images("queued", 3);
    let two = lab.model.logits(images(2)).await;
    assert!(is_full(&two.unwrap_err()));
    // The last place is still free.
    let mut one = Box::pin(lab.model.logits(images(1)));
    assert!(polled(one.as_mut()).await.is_pending());
    let explained = lab.model.explain(gray(1).into(), None).await;
    assert!(explained.is_err_and(|refused| is_full(&refused)));
    // More than the queue can hold is not a matter of time.
    let five = lab.model.logits(images(5)).await.unwrap_err();
    assert!(matches!(five, Refused::TooMany { images: 5, most: 4 }));
    drop(opener);
    assert_eq!(three.await.unwrap().len(), 3);
    assert_eq!(one.await.unwrap().len(), 1);
    assert_eq!(lab.model.logits(images(4)).await.unwrap().len(), 4);
    lab.counts("classify_images_refused_total{model=\"digits\",reason=\"full\"} 8");
    lab.counts_images("answered_total", 8);
    lab.counts_images("queued", 0);
    lab.counts_images("cancelled_total", 0);
}

#[tokio::test]
async fn what_comes_during_a_pass_is_computed_in_full_batches() {
    let two = Settings {
        max_batch: number(2),
        ..settings()
    };
    let lab = Lab::new(&two);
    let (started, opener) = lab.network.gated();
    let mut first = Box::pin(lab.logits(gray(0)));
    assert!(polled(first.as_mut()).await.is_pending());
    started.recv().unwrap();
    let mut others: Vec<_> = (1..6)
        .map(|value| Box::pin(lab.logits(gray(value))))
        .collect();
    for other in &mut others {
        assert!(polled(other.as_mut()).await.is_pending());
    }
    drop(opener);
    let classifier = Scripted::new(1).classifier();
    assert_eq!(
        first.await.unwrap().unwrap(),
        expected(&classifier, &gray(0))
    );
    for (value, other) in (1..).zip(others) {
        let row = expected(&classifier, &gray(value));
        assert_eq!(other.await.unwrap().unwrap(), row);
    }
    assert_eq!(lab.network.batches(), [1, 2, 2, 1]);
}

#[tokio::test]
async fn reloading_answers_with_the_old_model_what_it_has_accepted() {
    let (old, new) = (Scripted::new(1), Scripted::new(2));
    let models = |network: &Arc<Scripted>| vec![("digits".to_owned(), network.classifier())];
    let server = Server::new(models(&old), settings()).unwrap();
    let (started, opener) = old.gated();
    let accepted = async |server: Server| {
        let model = server.model(None).unwrap();
        model.logits(vec![image(gray(9))]).await.unwrap().remove(0)
    };
    let mut before = Box::pin(accepted(server.clone()));
    assert!(polled(before.as_mut()).await.is_pending());
    started.recv().unwrap();
    server.reload(models(&new)).unwrap();
    let after = accepted(server.clone()).await.unwrap();
    assert_eq!(after, expected(&Scripted::new(2).classifier(), &gray(9)));
    // A reload that fails changes nothing.
    assert!(server.reload(Vec::new()).is_err());
    let same = [models(&old), models(&new)].concat();
    assert!(server.reload(same).is_err());
    assert_eq!(accepted(server).await.unwrap(), after);
    drop(opener);
    let before = before.await.unwrap();
    assert_eq!(before, expected(&Scripted::new(1).classifier(), &gray(9)));
    // The old thread has ended when its network is dropped.
    let gone = old.gone();
    drop(old);
    gone.recv().unwrap();
}

#[tokio::test]
async fn accepted_images_are_answered_after_the_end_of_the_server() {
    let network = Scripted::new(1);
    let models = vec![("digits".to_owned(), network.classifier())];
    let server = Server::new(models, settings()).unwrap();
    let model = server.model(Some("digits")).unwrap();
    assert!(server.model(Some("others")).is_none());
    let (started, opener) = network.gated();
    let request = async move {
        let inputs = vec![image(gray(1)), image(gray(2))];
        model.logits(inputs).await
    };
    let mut request = Box::pin(request);
    assert!(polled(request.as_mut()).await.is_pending());
    started.recv().unwrap();
    server.close();
    assert!(server.is_closed());
    drop(server);
    drop(opener);
    assert_eq!(request.await.unwrap().len(), 2);
    let gone = network.gone();
    drop(network);
    gone.recv().unwrap();
}
