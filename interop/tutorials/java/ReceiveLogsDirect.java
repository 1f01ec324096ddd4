import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.DeliverCallback;
import java.nio.charset.StandardCharsets;

/** Routing: prints the lines of the severities given as arguments. */
public class ReceiveLogsDirect {
    public static void main(String[] args) throws Exception {
        if (args.length == 0) {
            System.err.println("usage: ReceiveLogsDirect [info] [warning] [error]");
            System.exit(1);
        }
        Connection connection = Broker.connect();
        Broker.closeOnInterrupt(connection);
        Channel channel = connection.createChannel();
        channel.exchangeDeclare("direct_logs", BuiltinExchangeType.DIRECT);
        String queue = channel.queueDeclare().getQueue();
        for (String severity : args) {
            channel.queueBind(queue, "direct_logs", severity);
        }

        DeliverCallback onMessage = (consumerTag, delivery) -> {
            String key = delivery.getEnvelope().getRoutingKey();
            String message = new String(delivery.getBody(), StandardCharsets.UTF_8);
            System.out.println(" [x] " + key + ":'" + message + "'");
        };
        channel.basicConsume(queue, true, onMessage, consumerTag -> {});
        System.out.println(" [*] Waiting for logs. To exit press CTRL+C");
    }
}
