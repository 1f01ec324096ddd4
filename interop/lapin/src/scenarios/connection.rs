use std::time::Duration;

use interop_harness::{BlockedExecutor, Outcome, Scenario, equal, lacking, scenarios, wrong};
use lapin::options::BasicPublishOptions;
use lapin::types::FieldTable;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, SASLMechanism};
use lapin::{BasicProperties, Connection, ConnectionProperties, ErrorKind};

use crate::inbox::{Inbox, drain, take};
use crate::publishing::publish;
use crate::refusal::reply;
use crate::session::{Session, table, text};

const LOGIN_REFUSED: &str = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see \
                             the broker logfile.";
const SEVERAL_HEARTBEATS: Duration = Duration::from_millis(3500);

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
    let channel = connection.create_channel().await?;
    let queue = session.queue(&channel, "round-trip").await?;
    publish(&channel, &queue, ["there and back"]).await?;
    equal(drain(&channel, &queue).await?, ["there and back"], "messages")?;
    channel.close(200, "OK".into()).await?;
    Ok(())
}

async fn connect_by_uri(session: Session) -> Outcome {
    let AMQPAuthority { userinfo, host, port } = session.uri().authority;
    let uri = format!("amqp://{}:{}@{host}:{port}/%2F?heartbeat=17", userinfo.username, userinfo.password);
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
    equal(connection.configuration().heartbeat(), 17, "heartbeat")?;
    round_trip(&session, &connection).await?;
    connection.close(200, "OK".into()).await?;
    equal(connection.status().connected(), false, "connected after the close")
}

async fn connect_by_options(session: Session) -> Outcome {
    let uri = AMQPUri {
        scheme: AMQPScheme::AMQP,
        authority: session.uri().authority,
        vhost: "/".to_owned(),
        query: AMQPQueryString {
            channel_max: Some(5),
            frame_max: Some(65536),
            heartbeat: Some(17),
            ..AMQPQueryString::default()
        },
    };
    let name = session.name("connection").to_string();
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let connection = session.connect_with(uri, properties).await?;
    let negotiated = connection.configuration();
    let negotiated = (negotiated.channel_max(), negotiated.frame_max(), negotiated.heartbeat());
    equal(negotiated, (5, 65536, 17), "channel_max, frame_max and heartbeat")?;
    round_trip(&session, &connection).await?;
    let mut channels = Vec::new();
    for _ in 0..5 {
        channels.push(connection.create_channel().await?);
    }
    match connection.create_channel().await {
        Err(error) if matches!(error.kind(), ErrorKind::ChannelsLimitReached) => Ok(()),
        other => wrong(format!("a sixth channel with channel_max 5: {other:?}")),
    }
}

async fn server_properties(_: Session) -> Outcome {
    lacking("lapin shows the server's properties to nobody")
}

async fn amqplain_login(session: Session) -> Outcome {
    let mut uri = session.uri();
    uri.query.auth_mechanism = Some(SASLMechanism::AMQPlain);
    let connection = session.connect_with(uri, ConnectionProperties::default()).await?;
    round_trip(&session, &connection).await
}

async fn wrong_password(session: Session) -> Outcome {
    for username in [session.uri().authority.userinfo.username.as_str(), "nobody"] {
        let mut uri = session.uri();
        uri.authority.userinfo.username = username.to_owned();
        uri.authority.userinfo.password = "wrong".to_owned();
        connection_refused(uri, 403, LOGIN_REFUSED).await?;
    }
    Ok(())
}

async fn unknown_vhost(session: Session) -> Outcome {
    let mut uri = session.uri();
    uri.vhost = "nowhere".to_owned();
    connection_refused(uri, 530, "NOT_ALLOWED - vhost nowhere not found").await
}

async fn connection_refused(uri: AMQPUri, code: u16, text: &str) -> Outcome {
    match Connection::connect_uri(uri, ConnectionProperties::default()).await {
        Ok(_) => wrong(format!("expected {code} {text}, but the connection was opened")),
        Err(error) => equal(reply(&error), Some((code, text.to_owned())), format!("what {error} says")),
    }
}

async fn heartbeats(session: Session) -> Outcome {
    let mut uri = session.uri();
    uri.query.heartbeat = Some(1);
    let connection = session.connect_with(uri, ConnectionProperties::default()).await?;
    equal(connection.configuration().heartbeat(), 1, "heartbeat")?;
    tokio::time::sleep(SEVERAL_HEARTBEATS).await;
    round_trip(&session, &connection).await
}

async fn heartbeat_missed(session: Session) -> Outcome {
    let observer = session.channel().await?;
    let queue = session.shared_queue(&observer, "queue", Default::default(), FieldTable::default()).await?;
    publish(&observer, &queue, ["held"]).await?;
    let silent = BlockedExecutor::new()?;
    let mut uri = session.uri();
    uri.query.heartbeat = Some(1);
    let held = queue.clone();
    let holder = silent.run(async move {
        let connection = Connection::connect_uri(uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let mut inbox = Inbox::open(&channel, &held).await?;
        let bodies = inbox.wait_bodies(1).await?;
        equal(bodies, ["held"], "messages of the silent one")?;
        Outcome::Ok((connection, inbox))
    });
    let _holder = holder.await?;
    let mut inbox = Inbox::open(&observer, &queue).await?;
    equal(inbox.wait_bodies(1).await?, ["held"], "messages of the observer")?;
    equal(inbox.flags(), [true], "redelivered")
}

async fn update_secret(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let password = session.uri().authority.userinfo.password;
    connection.update_secret(password.into(), "rotation".into()).await?;
    round_trip(&session, &connection).await
}

async fn small_frames(session: Session) -> Outcome {
    let mut uri = session.uri();
    uri.query.frame_max = Some(4096);
    let connection = session.connect_with(uri, ConnectionProperties::default()).await?;
    equal(connection.configuration().frame_max(), 4096, "frame_max")?;
    let channel = connection.create_channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let sent: Vec<u8> = (0..250).cycle().take(100_000).collect();
    let headers = table([("long", text("h".repeat(3000)))]);
    let properties = BasicProperties::default().with_headers(headers.clone());
    channel.basic_publish("".into(), queue.clone(), BasicPublishOptions::default(), &sent, properties).await?;
    let received = take(&channel, &queue).await?;
    equal(received.data.len(), sent.len(), "body size")?;
    equal(received.data == sent, true, "body unchanged")?;
    equal(received.properties.headers(), &Some(headers), "headers")
}
