//! The three questions that are asked, each with a time limit. No other file but `container` and `error` names bollard's types.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::errors::Error;
use bollard::query_parameters::EventsOptionsBuilder;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use futures_util::{Stream, StreamExt as _};
use tokio::time::timeout;

use super::container::{Container, ContainerId, Seen};
use super::error::{DockerError, is_not_found, is_of_the_answer};
use super::event::Event;
use super::transport::Transport;
use crate::engine::error_text::with_causes;
use crate::engine::printable::printable;

/// How long an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Events are asked for from so far back, the daemon's clock being another: those that were seen are told apart by their time.
pub(super) const LOOK_BACK: Duration = Duration::from_secs(600);
/// All that can change which servers there are. Health checks themselves (`exec_start`...) would be most of what happens.
const EVENTS: [&str; 10] =
    ["start", "die", "kill", "destroy", "pause", "unpause", "rename", "update", "health_status", "connect"];

/// A daemon that answers.
pub(super) struct Client(Docker);

/// What a container is now.
#[derive(Debug)]
pub(super) enum Inspected {
    /// It runs.
    Running(Box<Container>),
    /// It doesn't, or there is none.
    Gone,
    /// The daemon can't tell.
    Unreadable(String),
}

impl Client {
    /// Finds out which version of its API the daemon speaks.
    pub(super) async fn connect(transport: Transport) -> Result<Self, DockerError> {
        let send = move |request: BollardRequest| transport.clone().send(request);
        let seconds = PATIENCE.as_secs();
        let docker =
            Docker::connect_with_custom_transport(send, Some("http://docker"), seconds, API_DEFAULT_VERSION)?;
        Ok(Self(within(docker.negotiate_version()).await?))
    }

    /// The containers that run.
    pub(super) async fn list(&self) -> Result<BTreeMap<ContainerId, Seen>, DockerError> {
        let listed = within(self.0.list_containers(None)).await?;
        Ok(listed.into_iter().filter_map(Seen::read).collect())
    }

    pub(super) async fn inspect(&self, id: &ContainerId) -> Result<Inspected, DockerError> {
        let asked = timeout(PATIENCE, self.0.inspect_container(id.as_str(), None)).await;
        match asked.map_err(|_elapsed| DockerError::NoAnswer(PATIENCE))? {
            Ok(inspected) => Ok(Container::read(inspected)
                .map_or(Inspected::Gone, |container| Inspected::Running(Box::new(container)))),
            Err(error) if is_not_found(&error) => Ok(Inspected::Gone),
            Err(error) if is_of_the_answer(&error) => {
                Ok(Inspected::Unreadable(printable(&with_causes(&error))))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What happens from now on, after what happened lately.
    pub(super) fn events(&self) -> impl Stream<Item = Result<Option<Event>, Error>> + use<> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = now.saturating_sub(LOOK_BACK).as_secs().to_string();
        let filters = HashMap::from([
            ("type", vec!["container", "network"]),
            ("event", [&EVENTS[..], &["disconnect"]].concat()),
        ]);
        let options = EventsOptionsBuilder::default().since(&since).filters(&filters).build();
        self.0.events(Some(options)).map(|message| message.map(|message| Event::read(&message)))
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, DockerError> {
    Ok(timeout(PATIENCE, answer).await.map_err(|_elapsed| DockerError::NoAnswer(PATIENCE))??)
}
