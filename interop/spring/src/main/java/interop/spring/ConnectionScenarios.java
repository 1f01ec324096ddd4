package interop.spring;

import static interop.harness.Check.equal;
import static interop.harness.Check.isTrue;
import static interop.harness.Check.reasonIs;
import static interop.harness.Check.sameValue;

import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.LongString;
import com.rabbitmq.client.impl.LongStringHelper;
import interop.harness.AmqPlain;
import interop.harness.Bodies;
import interop.harness.ExpiringCredentials;
import interop.harness.OnDemandRefresh;
import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import org.springframework.amqp.AmqpAuthenticationException;
import org.springframework.amqp.AmqpException;
import org.springframework.amqp.AmqpResourceNotAvailableException;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.MessageProperties;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.connection.Connection;
import org.springframework.amqp.rabbit.connection.RabbitConnectionFactoryBean;

final class ConnectionScenarios {
    private static final String LOGIN_REFUSED =
            "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
                    + "For details see the broker logfile.";
    private static final int IDLE_MS = 3_500;

    private ConnectionScenarios() {}

    private static void roundTrip(Client client) {
        String queue = client.queue();
        client.send(queue, "there and back");
        equal(client.drain(queue), List.of("there and back"), "messages");
    }

    private static ConnectionFactory given(Session session) {
        return session.connectionFactory().getRabbitConnectionFactory();
    }

    static void connectByUri(Session session) {
        ConnectionFactory given = given(session);
        String login = given.getUsername() + ":" + given.getPassword();
        String address = given.getHost() + ":" + given.getPort();
        CachingConnectionFactory factory =
                new CachingConnectionFactory(URI.create("amqp://" + login + "@" + address + "/%2F?heartbeat=17"));
        Connection connection = factory.createConnection();
        equal(connection.getDelegate().getHeartbeat(), 17, "heartbeat");
        roundTrip(session.client(factory));
        factory.destroy();
        isTrue(!connection.isOpen(), "the connection is closed");
    }

    static void connectByOptions(Session session) throws Exception {
        ConnectionFactory given = given(session);
        RabbitConnectionFactoryBean bean = new RabbitConnectionFactoryBean();
        bean.setHost(given.getHost());
        bean.setPort(given.getPort());
        bean.setVirtualHost("/");
        bean.setUsername(given.getUsername());
        bean.setPassword(given.getPassword());
        bean.setRequestedChannelMax(5);
        bean.setRequestedFrameMax(65536);
        bean.setRequestedHeartbeat(17);
        bean.afterPropertiesSet();
        CachingConnectionFactory factory = new CachingConnectionFactory(bean.getObject());
        factory.setConnectionNameStrategy(own -> session.name("connection"));
        roundTrip(session.client(factory));

        Connection connection = factory.createConnection();
        equal(connection.getDelegate().getChannelMax(), 5, "channel_max");
        equal(connection.getDelegate().getFrameMax(), 65536, "frame_max");
        equal(connection.getDelegate().getHeartbeat(), 17, "heartbeat");
        equal(connection.getDelegate().getClientProvidedName(), session.name("connection"), "name");
        for (int n = 0; n < 5; n++) {
            connection.createChannel(false);
        }
        try {
            connection.createChannel(false);
            throw new AssertionError("a sixth channel was opened");
        } catch (AmqpResourceNotAvailableException refusal) {
            equal(refusal.getMessage(), "The channelMax limit is reached. Try later.", "refusal");
        }
    }

    static void serverProperties(Session session) {
        Map<String, Object> properties =
                session.client().factory.createConnection().getDelegate().getServerProperties();
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

    static void amqplainLogin(Session session) {
        CachingConnectionFactory factory = session.connectionFactory();
        factory.getRabbitConnectionFactory()
                .setSaslConfig(offered -> List.of(offered).contains("AMQPLAIN") ? new AmqPlain() : null);
        roundTrip(session.client(factory));
    }

    static void wrongPassword(Session session) {
        for (String user : List.of(given(session).getUsername(), "nobody")) {
            CachingConnectionFactory factory = session.connectionFactory();
            factory.setUsername(user);
            factory.setPassword("wrong");
            try {
                session.client(factory).admin.declareQueue();
                throw new AssertionError("the login was accepted");
            } catch (AmqpAuthenticationException refusal) {
                equal(refusal.getCause().getMessage(), LOGIN_REFUSED, "refusal");
            }
        }
    }

    static void unknownVhost(Session session) {
        CachingConnectionFactory factory = session.connectionFactory();
        factory.setVirtualHost("nowhere");
        try {
            session.client(factory).admin.declareQueue();
            throw new AssertionError("the connection was opened");
        } catch (AmqpException refusal) {
            reasonIs(Expect.reason(refusal), 530, "NOT_ALLOWED - vhost nowhere not found");
        }
    }

    /** Spring would open another connection and say nothing. */
    static void heartbeats(Session session) throws Exception {
        CachingConnectionFactory factory = session.connectionFactory();
        factory.setRequestedHeartBeat(1);
        Client client = session.client(factory);
        equal(factory.createConnection().getDelegate().getHeartbeat(), 1, "heartbeat");
        Thread.sleep(IDLE_MS);
        roundTrip(client);
        equal(client.connectionsOpened.get(), 1, "connections");
    }

    /** A client whose heartbeats are scheduled and never sent. */
    static void heartbeatMissed(Session session) throws Exception {
        Client observer = session.client();
        String queue = observer.sharedQueue();
        CachingConnectionFactory factory = session.connectionFactory();
        factory.setRequestedHeartBeat(1);
        ScheduledThreadPoolExecutor never = new ScheduledThreadPoolExecutor(0);
        never.shutdown();
        never.setRejectedExecutionHandler((heartbeat, executor) -> {});
        factory.getRabbitConnectionFactory().setHeartbeatExecutor(never);
        Client silent = session.client(factory);
        observer.send(queue, "held");
        Inbox.open(silent, queue).await(1);
        Inbox inbox = Inbox.open(observer, queue);
        equal(inbox.awaitMarked(1, 1), List.of("held again"), "messages of the observer");
    }

    /** The client sends a new secret when its refresh service says that the old one expires. */
    static void updateSecret(Session session) throws Exception {
        CachingConnectionFactory factory = session.connectionFactory();
        ConnectionFactory rabbit = factory.getRabbitConnectionFactory();
        OnDemandRefresh refreshes = new OnDemandRefresh();
        rabbit.setCredentialsProvider(new ExpiringCredentials(rabbit.getUsername(), rabbit.getPassword()));
        rabbit.setCredentialsRefreshService(refreshes);
        Client client = session.client(factory);
        roundTrip(client);
        equal(refreshes.refresh(), true, "the new secret was accepted");
        equal(client.template.receive(client.queue("other")), null, "message of an empty queue");
        equal(client.connectionsOpened.get(), 1, "connections");
    }

    static void smallFrames(Session session) {
        CachingConnectionFactory factory = session.connectionFactory();
        factory.getRabbitConnectionFactory().setRequestedFrameMax(4096);
        Client client = session.client(factory);
        equal(factory.createConnection().getDelegate().getFrameMax(), 4096, "frame_max");
        String queue = client.queue();
        byte[] body = Bodies.pattern(100_000);
        LongString header = LongStringHelper.asLongString("h".repeat(3000));
        MessageProperties properties = new MessageProperties();
        properties.setHeader("long", header);
        client.template.send("", queue, new Message(body, properties));
        List<Message> messages = new ArrayList<>(client.take(queue));
        equal(messages.size(), 1, "messages");
        isTrue(sameValue(messages.get(0).getBody(), body), "body unchanged");
        equal(messages.get(0).getMessageProperties().getHeaders(), Map.of("long", header), "headers");
    }

    static void gracefulShutdown(Session session) throws Exception {
        Client client = session.client();
        roundTrip(client);
        session.ask("stop");
        reasonIs(
                client.connectionErrors.take(),
                320,
                "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'");
    }
}
