import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.DeliverCallback;
import java.nio.charset.StandardCharsets;

/** Hello world: prints the messages of a queue until Ctrl-C. */
public class Receive {
    public static void main(String[] args) throws Exception {
        Connection connection = Broker.connect();
        Broker.closeOnInterrupt(connection);
        Channel channel = connection.createChannel();
        channel.queueDeclare("hello", false, false, false, null);

        DeliverCallback onMessage = (consumerTag, delivery) -> {
            String message = new String(delivery.getBody(), StandardCharsets.UTF_8);
            System.out.println(" [x] Received '" + message + "'");
        };
        channel.basicConsume("hello", true, onMessage, consumerTag -> {});
        System.out.println(" [*] Waiting for messages. To exit press CTRL+C");
    }
}
