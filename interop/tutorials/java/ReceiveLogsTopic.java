import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.DeliverCallback;
import java.nio.charset.StandardCharsets;

/** Topics: prints the lines whose key matches one of the patterns given as arguments. */
public class ReceiveLogsTopic {
    public static void main(String[] args) throws Exception {
        if (args.length == 0) {
            System.err.println("usage: ReceiveLogsTopic PATTERN...");
            System.exit(1);
        }
        Connection connection = Broker.connect();
        Broker.closeOnInterrupt(connection);
        Channel channel = connection.createChannel();
        channel.exchangeDeclare("topic_logs", BuiltinExchangeType.TOPIC);
        String queue = channel.queueDeclare().getQueue();
        for (String pattern : args) {
            channel.queueBind(queue, "topic_logs", pattern);
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
