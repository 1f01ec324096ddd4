import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;

/** Where the broker is, and how a program takes its leave of it. */
final class Broker {
    private Broker() {}

    static Connection connect() throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(System.getenv().getOrDefault("AMQP_URL", "amqp://localhost:5672"));
        return factory.newConnection();
    }

    /** Java ends a program with an error when Ctrl-C is pressed; for these programs it is the way to end. */
    static void closeOnInterrupt(Connection connection) {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            connection.abort();
            System.out.println("Interrupted");
            Runtime.getRuntime().halt(0);
        }));
    }
}
