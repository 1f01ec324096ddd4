use std::time::Duration;

use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::error::Error;
use amqprs::security::SecurityCredentials;
use interop_harness::{BlockedExecutor, Outcome, Scenario, equal, lacking, scenarios, wrong};

use crate::inbox::{Inbox, drain};
use crate::publishing::publish;
use crate::session::Session;

const SEVERAL_HEARTBEATS: Duration = Duration::from_millis(6500);

pub fn scenarios() -> Vec<Scenario<Session>> {
    scenarios![
        connect_by_uri,
        connect_by_options,
        server_properties,
        amqplain_login,
        wrong_password,
        unknown_vhost,
        heartbeats,
        heartbeat_missed,
        update_secret,
        small_frames,
    ]
}

pub async fn round_trip(session: &Session, connection: &Connection) -> Outcome {
    let channel = connection.open_channel(None).await?;
    let queue = session.queue(&channel, "round-trip").await?;
    publish(&channel, &queue, ["there and back"]).await?;
    equal(drain(&channel, &queue).await?, ["there and back"], "messages")?;
    channel.close().await?;
    Ok(())
}

/// amqprs takes what stands behind the first slash as the vhost's name, and knows no %2F.
async fn connect_by_uri(session: Session) -> Outcome {
    let (name, password) = session.login();
    let arguments = session.arguments();
    let (host, port) = (arguments.get_host(), arguments.get_port());
    let uri = format!("amqp://{name}:{password}@{host}:{port}//?heartbeat=17");
    let arguments = OpenConnectionArguments::try_from(uri.as_str())?;
    equal(arguments.get_virtual_host(), "/", "vhost")?;
    let connection = session.connect_with(&arguments).await?;
    equal(connection.heartbeat(), 17, "heartbeat")?;
    round_trip(&session, &connection).await?;
    connection.clone().close().await?;
    equal(connection.is_open(), false, "open")
}

/// amqprs takes channel_max and frame_max as the server has them.
async fn connect_by_options(session: Session) -> Outcome {
    let (user, password) = session.login();
    let given = session.arguments();
    let name = session.name("connection");
    let arguments = OpenConnectionArguments::new(given.get_host(), given.get_port(), user, password)
        .virtual_host("/")
        .heartbeat(17)
        .connection_name(&name)
        .finish();
    let connection = session.connect_with(&arguments).await?;
    equal(connection.heartbeat(), 17, "heartbeat")?;
    equal(connection.connection_name(), name.as_str(), "connection name")?;
    equal((connection.channel_max(), connection.frame_max()), (2047, 131_072), "channel_max and frame_max")?;
    round_trip(&session, &connection).await
}

async fn server_properties(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let properties = connection.server_properties();
    equal(properties.product(), "RabbitMQ", "product")?;
    let version: Vec<&str> = properties.version().split('.').collect();
    let is_number = |part: &&str| part.parse::<u32>().is_ok();
    equal(version.len() == 3 && version.iter().all(is_number), true, format!("{version:?} is of the form x.y.z"))?;
    let capabilities = properties.capabilities();
    for (capability, offered) in [
        ("publisher_confirms", capabilities.publisher_confirms()),
        ("exchange_exchange_bindings", capabilities.exchange_exchange_bindings()),
        ("basic.nack", capabilities.basic_nack()),
        ("consumer_cancel_notify", capabilities.consumer_cancel_notify()),
        ("connection.blocked", capabilities.connection_blocked()),
        ("consumer_priorities", capabilities.consumer_priorities()),
        ("authentication_failure_close", capabilities.authentication_failure_close()),
        ("per_consumer_qos", capabilities.per_consumer_qos()),
        ("direct_reply_to", capabilities.direct_reply_to()),
    ] {
        equal(offered, true, capability)?;
    }
    Ok(())
}

async fn amqplain_login(session: Session) -> Outcome {
    let (name, password) = session.login();
    let arguments = session.arguments().credentials(SecurityCredentials::new_amqplain(name, password)).finish();
    let connection = session.connect_with(&arguments).await?;
    round_trip(&session, &connection).await
}

/// That the login is refused can be seen nevertheless.
async fn wrong_password(session: Session) -> Outcome {
    let (name, _) = session.login();
    let (wrong_password, unknown_user) = tokio::join!(log_in(&session, name), log_in(&session, "nobody"));
    for attempt in [wrong_password, unknown_user] {
        match attempt {
            Err(Error::NetworkError(_)) => {}
            Err(other) => return wrong(format!("expected the connection to end, got {other:?}")),
            Ok(()) => return wrong("the connection was opened"),
        }
    }
    lacking("amqprs does not announce authentication_failure_close, so the broker closes the socket and says nothing")
}

async fn log_in(session: &Session, name: &str) -> Result<(), Error> {
    let arguments = session.arguments().credentials(SecurityCredentials::new_plain(name, "wrong")).finish();
    Connection::open(&arguments).await.map(drop)
}

async fn unknown_vhost(session: Session) -> Outcome {
    let arguments = session.arguments().virtual_host("nowhere").finish();
    match Connection::open(&arguments).await {
        Err(Error::ConnectionOpenError(message)) => {
            let told = message.contains("reply_code: 530")
                && message.contains("\"NOT_ALLOWED - vhost nowhere not found\"")
                && message.starts_with("failed to open connection, reason: Close(");
            equal(told, true, message)
        }
        Err(other) => wrong(format!("expected the connection not to open, got {other:?}")),
        Ok(_) => wrong("the connection was opened"),
    }
}

/// amqprs sends a heartbeat each half of the interval in whole seconds; of one second nothing would be left, and it would
/// send them without a pause.
async fn heartbeats(session: Session) -> Outcome {
    let connection = session.connect_with(&session.arguments().heartbeat(2).finish()).await?;
    equal(connection.heartbeat(), 2, "heartbeat")?;
    tokio::time::sleep(SEVERAL_HEARTBEATS).await;
    equal(connection.is_open(), true, "open")?;
    round_trip(&session, &connection).await
}

async fn heartbeat_missed(session: Session) -> Outcome {
    let observer = session.channel().await?;
    let queue = session.shared_queue(&observer, "queue").await?;
    publish(&observer, &queue, ["held"]).await?;
    let silent = BlockedExecutor::new()?;
    let arguments = session.arguments().heartbeat(1).finish();
    let held = queue.clone();
    let holder = silent.run(async move {
        let connection = Connection::open(&arguments).await?;
        let channel = connection.open_channel(None).await?;
        let mut inbox = Inbox::open(&channel, &held).await?;
        equal(inbox.wait_bodies(1).await?, ["held"], "messages of the silent one")?;
        Outcome::Ok((connection, channel, inbox))
    });
    let _holder = holder.await?;
    let mut inbox = Inbox::open(&observer, &queue).await?;
    equal(inbox.wait_bodies(1).await?, ["held"], "messages of the observer")?;
    equal(inbox.flags(), [true], "redelivered")
}

async fn update_secret(session: Session) -> Outcome {
    let connection = session.connect().await?;
    connection.update_secret(session.login().1, "rotation").await?;
    round_trip(&session, &connection).await
}

async fn small_frames(_: Session) -> Outcome {
    lacking("amqprs takes the server's frame_max and cannot ask for a smaller one")
}
