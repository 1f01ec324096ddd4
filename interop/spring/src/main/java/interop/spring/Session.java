package interop.spring;

import interop.harness.Report;
import java.net.URI;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.UUID;
import java.util.function.Consumer;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory.ConfirmType;
import org.springframework.amqp.rabbit.core.RabbitAdmin;

/** One scenario's view of the broker: its connections, and names that nothing else uses. */
final class Session implements AutoCloseable {
    private static final int CLOSE_TIMEOUT_MS = 5_000;

    private final String scenario;
    private final String url;
    private final String token = UUID.randomUUID().toString().substring(0, 8);
    /** What was opened last is closed first. */
    private final Deque<Runnable> closings = new ArrayDeque<>();
    private final Deque<Consumer<RabbitAdmin>> deletions = new ArrayDeque<>();

    Session(String scenario, String url) {
        this.scenario = scenario;
        this.url = url;
    }

    /** Asks the runner to do something to the broker: stop, restart, block or unblock. */
    void ask(String what) {
        Report.event(scenario, what);
    }

    String name(String label) {
        return "interop." + scenario + "." + label + "." + token;
    }

    CachingConnectionFactory connectionFactory() {
        return new CachingConnectionFactory(URI.create(url));
    }

    /** A client whose scoped operations can wait for confirms. */
    Client client() {
        return client(ConfirmType.SIMPLE);
    }

    Client client(ConfirmType confirms) {
        CachingConnectionFactory factory = connectionFactory();
        factory.setPublisherConfirmType(confirms);
        factory.setPublisherReturns(confirms == ConfirmType.CORRELATED);
        return client(factory);
    }

    Client client(CachingConnectionFactory factory) {
        factory.setCloseTimeout(CLOSE_TIMEOUT_MS);
        onClose(factory::destroy);
        return new Client(this, factory);
    }

    void onClose(Runnable closing) {
        closings.push(closing);
    }

    void afterwards(Consumer<RabbitAdmin> deletion) {
        deletions.push(deletion);
    }

    @Override
    public void close() {
        closings.forEach(Session::runQuietly);
        if (!deletions.isEmpty()) {
            CachingConnectionFactory factory = connectionFactory();
            RabbitAdmin admin = new RabbitAdmin(factory);
            deletions.forEach(deletion -> runQuietly(() -> deletion.accept(admin)));
            factory.destroy();
        }
    }

    /** A broker that is gone takes with it what was opened and declared. */
    private static void runQuietly(Runnable closing) {
        try {
            closing.run();
        } catch (RuntimeException e) {
            // As the scenario has ended, there is nobody to tell.
        }
    }
}
