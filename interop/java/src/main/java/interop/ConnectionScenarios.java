package interop;

import static interop.Amqp.drain;
import static interop.Amqp.headers;
import static interop.Amqp.send;
import static interop.harness.Check.equal;
import static interop.harness.Check.isTrue;
import static interop.harness.Check.sameValue;

import com.rabbitmq.client.AuthenticationFailureException;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.LongString;
import com.rabbitmq.client.ShutdownSignalException;
import com.rabbitmq.client.impl.LongStringHelper;
import interop.harness.AmqPlain;
import interop.harness.Bodies;
import interop.harness.Check;
import interop.harness.ExpiringCredentials;
import interop.harness.OnDemandRefresh;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ScheduledThreadPoolExecutor;

final class ConnectionScenarios {
    private static final String LOGIN_REFUSED =
            "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
                    + "For details see the broker logfile.";
    private static final int IDLE_MS = 3_500;

    private ConnectionScenarios() {}

    private static void roundTrip(Session session, Connection connection) throws Exception {
        Channel channel = connection.createChannel();
        String queue = session.queue(channel);
        send(channel, queue, "there and back");
        equal(drain(channel, queue), List.of("there and back"), "messages");
    }

    static void connectByUri(Session session) throws Exception {
        ConnectionFactory given = session.factory();
        String login = given.getUsername() + ":" + given.getPassword();
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri("amqp://" + login + "@" + given.getHost() + ":" + given.getPort() + "/%2F?heartbeat=17");
        Connection connection = session.connect(factory);
        equal(connection.getHeartbeat(), 17, "heartbeat");
        roundTrip(session, connection);
        connection.close();
        isTrue(!connection.isOpen(), "the connection is closed");
    }

    static void connectByOptions(Session session) throws Exception {
        ConnectionFactory given = session.factory();
        ConnectionFactory factory = new ConnectionFactory();
        factory.setHost(given.getHost());
        factory.setPort(given.getPort());
        factory.setVirtualHost("/");
        factory.setUsername(given.getUsername());
        factory.setPassword(given.getPassword());
        factory.setRequestedChannelMax(5);
        factory.setRequestedFrameMax(65536);
        factory.setRequestedHeartbeat(17);
        try (Connection connection = factory.newConnection(session.name("connection"))) {
            equal(connection.getChannelMax(), 5, "channel_max");
            equal(connection.getFrameMax(), 65536, "frame_max");
            equal(connection.getHeartbeat(), 17, "heartbeat");
            roundTrip(session, connection);
            for (int n = 0; n < 4; n++) {
                connection.createChannel();
            }
            equal(connection.createChannel(), null, "sixth channel");
        }
    }

    static void serverProperties(Session session) throws Exception {
        Map<String, Object> properties = session.connect().getServerProperties();
        equal(properties.get("product").toString(), "RabbitMQ", "product");
        String version = properties.get("version").toString();
        isTrue(version.matches("\\d+\\.\\d+\\.\\d+"), "version " + version + " is of the form x.y.z");
        Map<?, ?> capabilities = (Map<?, ?>) properties.get("capabilities");
        for (String capability : List.of(
                "publisher_confirms",
                "exchange_exchange_bindings",
                "basic.nack",
                "consumer_cancel_notify",
                "connection.blocked",
                "consumer_priorities",
                "authentication_failure_close",
                "per_consumer_qos",
                "direct_reply_to")) {
            equal(capabilities.get(capability), true, capability);
        }
    }

    static void amqplainLogin(Session session) throws Exception {
        ConnectionFactory factory = session.factory();
        factory.setSaslConfig(offered -> List.of(offered).contains("AMQPLAIN") ? new AmqPlain() : null);
        roundTrip(session, session.connect(factory));
    }

    static void wrongPassword(Session session) throws Exception {
        for (String user : List.of(session.factory().getUsername(), "nobody")) {
            ConnectionFactory factory = session.factory();
            factory.setUsername(user);
            factory.setPassword("wrong");
            try {
                session.connect(factory);
                throw new AssertionError("the login was accepted");
            } catch (AuthenticationFailureException refusal) {
                equal(refusal.getMessage(), LOGIN_REFUSED, "refusal");
            }
        }
    }

    static void unknownVhost(Session session) throws Exception {
        ConnectionFactory factory = session.factory();
        factory.setVirtualHost("nowhere");
        try {
            session.connect(factory);
            throw new AssertionError("the connection was opened");
        } catch (IOException refusal) {
            Check.reasonIs(
                    (ShutdownSignalException) refusal.getCause(), 530, "NOT_ALLOWED - vhost nowhere not found");
        }
    }

    static void heartbeats(Session session) throws Exception {
        ConnectionFactory factory = session.factory();
        factory.setRequestedHeartbeat(1);
        Connection connection = session.connect(factory);
        Thread.sleep(IDLE_MS);
        roundTrip(session, connection);
    }

    /** A client whose heartbeats are scheduled and never sent. */
    static void heartbeatMissed(Session session) throws Exception {
        Channel observer = session.channel();
        String queue = session.sharedQueue(observer, "queue");
        ConnectionFactory factory = session.factory();
        factory.setRequestedHeartbeat(1);
        ScheduledThreadPoolExecutor never = new ScheduledThreadPoolExecutor(0);
        never.shutdown();
        never.setRejectedExecutionHandler((heartbeat, executor) -> {});
        factory.setHeartbeatExecutor(never);
        Channel silent = session.connect(factory).createChannel();
        send(silent, queue, "held");
        Inbox.open(silent, queue).await(1);
        Inbox inbox = Inbox.open(observer, queue);
        equal(inbox.awaitBodies(1), List.of("held"), "messages of the observer");
        equal(inbox.redelivered(), List.of(true), "redelivered");
    }

    /** The client sends a new secret when its refresh service says that the old one expires. */
    static void updateSecret(Session session) throws Exception {
        ConnectionFactory factory = session.factory();
        OnDemandRefresh refreshes = new OnDemandRefresh();
        factory.setCredentialsProvider(new ExpiringCredentials(factory.getUsername(), factory.getPassword()));
        factory.setCredentialsRefreshService(refreshes);
        Connection connection = session.connect(factory);
        equal(refreshes.refresh(), true, "the new secret was accepted");
        roundTrip(session, connection);
    }

    static void smallFrames(Session session) throws Exception {
        ConnectionFactory factory = session.factory();
        factory.setRequestedFrameMax(4096);
        Connection connection = session.connect(factory);
        equal(connection.getFrameMax(), 4096, "frame_max");
        Channel channel = connection.createChannel();
        String queue = session.queue(channel);
        byte[] body = Bodies.pattern(100_000);
        LongString header = LongStringHelper.asLongString("h".repeat(3000));
        channel.basicPublish("", queue, headers(Map.of("long", header)), body);
        GetResponse message = channel.basicGet(queue, true);
        isTrue(sameValue(message.getBody(), body), "body unchanged");
        equal(message.getProps().getHeaders(), Map.of("long", header), "headers");
    }

    static void gracefulShutdown(Session session) throws Exception {
        Connection connection = session.connect();
        roundTrip(session, connection);
        CompletableFuture<ShutdownSignalException> closed = new CompletableFuture<>();
        connection.addShutdownListener(closed::complete);
        session.ask("stop");
        Check.reasonIs(
                closed.get(), 320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'");
    }
}
