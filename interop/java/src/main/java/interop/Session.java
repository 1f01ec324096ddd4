package interop;

import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import interop.harness.Report;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/** One scenario's view of the broker: its connections, and names that nothing else uses. */
final class Session implements AutoCloseable {
    private static final int CLOSE_TIMEOUT_MS = 5_000;

    private final String scenario;
    private final String url;
    private final String token = UUID.randomUUID().toString().substring(0, 8);
    private final List<Connection> connections = new ArrayList<>();
    private final List<Deletion> deletions = new ArrayList<>();

    private interface Deletion {
        void from(Channel channel) throws IOException;
    }

    Session(String scenario, String url) {
        this.scenario = scenario;
        this.url = url;
    }

    /** Asks the runner to do something to the broker: stop, restart, block or unblock. */
    void ask(String what) {
        Report.event(scenario, what);
    }

    /** The broker's address and login. Recovery is off, so that a scenario sees what the broker does. */
    ConnectionFactory factory() throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(url);
        factory.setAutomaticRecoveryEnabled(false);
        return factory;
    }

    Connection connect() throws Exception {
        return connect(factory());
    }

    Connection connect(ConnectionFactory factory) throws Exception {
        Connection connection = factory.newConnection();
        connections.add(connection);
        return connection;
    }

    /** A channel on a connection of its own. */
    Channel channel() throws Exception {
        return connect().createChannel();
    }

    String name(String label) {
        return "interop." + scenario + "." + label + "." + token;
    }

    /** Declares a queue that goes with the channel's connection. */
    String queue(Channel channel) throws IOException {
        return queue(channel, "queue");
    }

    String queue(Channel channel, String label) throws IOException {
        return queue(channel, label, null);
    }

    String queue(Channel channel, String label, Map<String, Object> arguments) throws IOException {
        return channel.queueDeclare(name(label), false, true, false, arguments).getQueue();
    }

    /** Declares a queue that any connection may use, deleted after the scenario. */
    String sharedQueue(Channel channel, String label) throws IOException {
        return sharedQueue(channel, label, false, false, Map.of());
    }

    String sharedQueue(
            Channel channel, String label, boolean durable, boolean autoDelete, Map<String, Object> arguments)
            throws IOException {
        String name = name(label);
        channel.queueDeclare(name, durable, false, autoDelete, arguments);
        deletions.add(cleaner -> cleaner.queueDelete(name));
        return name;
    }

    /** Declares an exchange, deleted after the scenario. */
    String exchange(Channel channel, String type) throws IOException {
        return exchange(channel, type, "exchange", false, false, Map.of());
    }

    String exchange(Channel channel, String type, String label) throws IOException {
        return exchange(channel, type, label, false, false, Map.of());
    }

    String exchange(
            Channel channel,
            String type,
            String label,
            boolean autoDelete,
            boolean internal,
            Map<String, Object> arguments)
            throws IOException {
        String name = name(label);
        channel.exchangeDeclare(name, type, false, autoDelete, internal, arguments);
        deletions.add(cleaner -> cleaner.exchangeDelete(name));
        return name;
    }

    @Override
    public void close() {
        for (Connection connection : connections) {
            connection.abort(CLOSE_TIMEOUT_MS);
        }
        if (!deletions.isEmpty()) {
            deleteDeclared();
        }
    }

    private void deleteDeclared() {
        try {
            Connection connection = factory().newConnection();
            Channel channel = connection.createChannel();
            for (Deletion deletion : deletions) {
                deletion.from(channel);
            }
            connection.abort(CLOSE_TIMEOUT_MS);
        } catch (Exception e) {
            // The broker is gone, and with it what was declared.
        }
    }
}
