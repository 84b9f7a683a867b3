//! The primary that Redis Sentinel names.
//!
//! All Sentinels are asked at the same time, each in its own task. An answer is recorded even if no
//! caller waits for it any more.

mod question;
mod view;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use self::question::Sentinel;
use self::view::View;
use super::context::ClientContext;
use super::health::longest_rest;
use super::server::Server;
use crate::observe::fault::Fault;
use crate::settings::{Access, Endpoint, SettingsError};

pub(super) struct Sentinels {
    all: Vec<Arc<Sentinel>>,
    master: Arc<str>,
    /// The credentials and TLS settings for the primary.
    access: Access,
    view: Arc<watch::Sender<View>>,
    /// The last question to each Sentinel.
    questions: Mutex<Vec<Question>>,
    /// The generation number that `find` returned last; 0: it has not returned a primary yet.
    tried: AtomicU64,
}

/// A question to one Sentinel.
#[derive(Default)]
struct Question {
    asked: Option<Instant>,
    task: Option<AbortOnDropHandle<()>>,
}

impl Sentinels {
    pub(super) fn new(
        sentinels: &[Endpoint],
        master: &str,
        sentinel_access: &Access,
        access: Access,
    ) -> Result<Self, SettingsError> {
        let all = sentinels.iter().map(|at| {
            let server = Server::new(sentinel_access, at)?;
            Ok(Arc::new(Sentinel::new(server)))
        });
        let all = all.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            view: Arc::new(watch::Sender::new(View::new(all.len()))),
            questions: Mutex::new(all.iter().map(|_| Question::default()).collect()),
            all,
            master: master.into(),
            access,
            tried: AtomicU64::new(0),
        })
    }

    /// Returns the primary and its generation number. A primary that was returned before may have failed.
    /// So after the first answer, waits a short time for the answers of most Sentinels.
    pub(super) async fn find(&self, context: &Arc<ClientContext>) -> Result<(Server, u64), Fault> {
        let tried = self.tried.load(Ordering::Relaxed);
        let is_news = |view: &View| tried > 0 && view.generation > tried;
        if !is_news(&self.view.borrow()) {
            let since = Instant::now();
            self.ask(context, Duration::ZERO);
            let mut view = self.view.subscribe();
            let is_over = |view: &View| is_news(view) || view.all_ended(since);
            let any = view.wait_for(|view| is_over(view) || view.answers(since) > 0);
            // The longest time that a question takes.
            let limit = context.connect_timeout + context.budget.largest();
            drop(timeout(limit, any).await);
            let enough = self.all.len() / 2;
            let most = view.wait_for(|view| is_over(view) || view.answers(since) > enough);
            // Callers are waiting for the connection, so this wait must be short.
            drop(timeout(context.budget() / 4, most).await);
        }
        let view = self.view.borrow();
        let endpoint = view.primary().ok_or_else(|| view.fault())?;
        self.tried.store(view.generation, Ordering::Relaxed);
        let server = Server::new(&self.access, endpoint);
        Ok((server.map_err(|_| Fault::Protocol)?, view.generation))
    }

    /// Asks the Sentinels repeatedly until the primary of a generation is replaced. Returns the new
    /// generation number.
    pub(super) async fn wait_for_next(&self, known: u64, context: &Arc<ClientContext>) -> u64 {
        let rest = longest_rest(context.pulse);
        let mut view = self.view.subscribe();
        loop {
            self.ask(context, rest);
            let is_next = |view: &View| view.generation != known;
            if let Ok(Ok(view)) = timeout(rest, view.wait_for(is_next)).await {
                return view.generation;
            }
        }
    }

    /// Asks the Sentinels, except those that are being asked, or were asked less than `within` ago.
    fn ask(&self, context: &Arc<ClientContext>, within: Duration) {
        let mut questions = self.questions();
        for (index, question) in questions.iter_mut().enumerate() {
            let is_asked = question.task.as_ref().is_some_and(|it| !it.is_finished());
            if is_asked || question.asked.is_some_and(|it| it.elapsed() < within) {
                continue;
            }
            let (sentinel, view) = (Arc::clone(&self.all[index]), Arc::clone(&self.view));
            let (master, context) = (Arc::clone(&self.master), Arc::clone(context));
            let task = tokio::spawn(async move {
                let named = sentinel.ask(&master, &context).await;
                view.send_modify(|view| view.take_over(index, named));
            });
            *question = Question {
                asked: Some(Instant::now()),
                task: Some(AbortOnDropHandle::new(task)),
            };
        }
    }

    /// Locks the questions. A panic in a critical section leaves them consistent.
    fn questions(&self) -> MutexGuard<'_, Vec<Question>> {
        self.questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
