import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.DeliverCallback;
import java.nio.charset.StandardCharsets;

/** Publish/subscribe: prints every line that is broadcast. */
public class ReceiveLogs {
    public static void main(String[] args) throws Exception {
        Connection connection = Broker.connect();
        Broker.closeOnInterrupt(connection);
        Channel channel = connection.createChannel();
        channel.exchangeDeclare("logs", BuiltinExchangeType.FANOUT);
        // A queue of our own with a name that the broker chooses, gone when we are.
        String queue = channel.queueDeclare().getQueue();
        channel.queueBind(queue, "logs", "");

        DeliverCallback onMessage = (consumerTag, delivery) -> {
            String message = new String(delivery.getBody(), StandardCharsets.UTF_8);
            System.out.println(" [x] '" + message + "'");
        };
        channel.basicConsume(queue, true, onMessage, consumerTag -> {});
        System.out.println(" [*] Waiting for logs. To exit press CTRL+C");
    }
}
