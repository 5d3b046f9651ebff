//! The models of a server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use classifier::Classifier;

use crate::metrics::Metrics;
use crate::room::{Decoders, Model};
use crate::{Error, Settings, http};

/// Trained classifiers behind HTTP. A clone shares the models.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    models: RwLock<Arc<[Arc<Model>]>>,
    settings: Settings,
    metrics: Metrics,
    bodies: http::Bodies,
    decoders: Decoders,
    is_closed: AtomicBool,
}

impl Server {
    /// Starts the threads of each model. The first model is the default one.
    ///
    /// # Errors
    /// [`Error::NoModel`], [`Error::SameName`], and [`Error::Thread`] if the system starts no thread.
    pub fn new(models: Vec<(String, Classifier)>, settings: Settings) -> Result<Self, Error> {
        let metrics = Metrics::new();
        let decoders = Decoders::new(settings.decoders.get());
        let models = started(models, &settings, &metrics, &decoders)?;
        Ok(Self {
            shared: Arc::new(Shared {
                models: RwLock::new(models),
                bodies: http::Bodies::new(&settings),
                settings,
                metrics,
                decoders,
                is_closed: AtomicBool::new(false),
            }),
        })
    }

    /// Exchanges the models. Images that were accepted before are answered by the models that accepted them.
    ///
    /// # Errors
    /// As [`Server::new`]; then the old models stay.
    pub fn reload(&self, models: Vec<(String, Classifier)>) -> Result<(), Error> {
        let Shared {
            settings,
            metrics,
            decoders,
            ..
        } = &*self.shared;
        let models = started(models, settings, metrics, decoders)?;
        let lock = self.shared.models.write();
        let mut lock = lock.unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *lock, models);
        drop(lock);
        // The old models' threads end here, or with their last requests.
        drop(old);
        Ok(())
    }

    /// From now on the server says that it is not ready, so that a load balancer sends no more requests. Requests are still
    /// answered. A request holds its model, so accepted images are answered even if the server is dropped.
    pub fn close(&self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
    }

    /// The routes of all protocols, and the page.
    pub fn router(&self) -> Router {
        http::router(self.clone())
    }

    /// The model of this name, or the first one.
    pub(crate) fn model(&self, name: Option<&str>) -> Option<Arc<Model>> {
        let models = self.models();
        let mut models = models.iter();
        match name {
            Some(name) => models.find(|model| model.name() == name).cloned(),
            None => models.next().cloned(),
        }
    }

    pub(crate) fn models(&self) -> Arc<[Arc<Model>]> {
        let lock = self.shared.models.read();
        Arc::clone(&lock.unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The memory for bodies.
    pub(crate) fn bodies(&self) -> &http::Bodies {
        &self.shared.bodies
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.is_closed.load(Ordering::SeqCst)
    }
}

fn started(
    models: Vec<(String, Classifier)>,
    settings: &Settings,
    metrics: &Metrics,
    decoders: &Decoders,
) -> Result<Arc<[Arc<Model>]>, Error> {
    if models.is_empty() {
        return Err(Error::NoModel);
    }
    for (index, (name, _)) in models.iter().enumerate() {
        if models[..index].iter().any(|(other, _)| other == name) {
            return Err(Error::SameName(name.clone()));
        }
    }
    let start = |(name, classifier)| {
        Model::start(name, classifier, settings, metrics, decoders).map(Arc::new)
    };
    models.into_iter().map(start).collect()
}
