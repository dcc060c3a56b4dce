//! What a daemon says that happened.

use bollard::models::{EventMessage, EventMessageTypeEnum};

use super::container::ContainerId;
use super::signal::Signal;

/// Something happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) container: ContainerId,
    pub(super) what: Happened,
    /// When, in nanoseconds, by the daemon's clock.
    pub(super) at: i64,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    /// It runs, as if it had never run before.
    Started,
    /// It was sent a signal.
    Signalled(Signal),
    /// Its network is another.
    Connected,
    /// Whatever else; a look at it tells.
    Changed,
}

impl Event {
    /// `None` for what says nothing about a container.
    pub(super) fn read(message: &EventMessage) -> Option<Self> {
        let actor = message.actor.as_ref()?;
        let attribute = |name: &str| actor.attributes.as_ref()?.get(name).map(String::as_str);
        let kind = message.typ?;
        let (container, what) = if kind == EventMessageTypeEnum::CONTAINER {
            let what = match message.action.as_deref()? {
                "start" => Happened::Started,
                "kill" => Happened::Signalled(Signal::parse(attribute("signal")?)?),
                _ => Happened::Changed,
            };
            (actor.id.as_deref()?, what)
        } else if kind == EventMessageTypeEnum::NETWORK {
            (attribute("container")?, Happened::Connected)
        } else {
            return None;
        };
        Some(Self {
            container: ContainerId::parse(container)?,
            what,
            at: message.time_nano.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(message: Value) -> Option<Event> {
        Event::read(&serde_json::from_value(message).unwrap())
    }

    #[test]
    fn events_of_containers_and_of_their_networks_are_understood() {
        let id = "0123456789abcdef";
        let of = |action: &str, attributes: Value| {
            let actor = json!({"ID": id, "Attributes": attributes});
            read(json!({"Type": "container", "Action": action, "Actor": actor, "timeNano": 7}))
        };
        let event = |what| Some(Event { container: ContainerId::parse(id).unwrap(), what, at: 7 });
        assert_eq!(of("start", json!({})), event(Happened::Started));
        assert_eq!(of("health_status: healthy", json!({})), event(Happened::Changed));
        let term = Signal::parse("TERM").unwrap();
        assert_eq!(of("kill", json!({"signal": "15"})), event(Happened::Signalled(term)));
        assert_eq!(of("kill", json!({})), None);
        let actor = json!({"ID": "network", "Attributes": {"container": id}});
        let network = json!({"Type": "network", "Action": "connect", "Actor": actor, "timeNano": 7});
        assert_eq!(read(network), event(Happened::Connected));
        assert_eq!(read(json!({"Type": "image", "Action": "pull", "Actor": {"ID": id}})), None);
        assert_eq!(read(json!({"Type": "container", "Action": "die", "Actor": {"ID": "../x"}})), None);
    }
}
