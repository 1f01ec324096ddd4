import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import java.nio.charset.StandardCharsets;

/** Hello world: puts one message into a queue. */
public class Send {
    public static void main(String[] args) throws Exception {
        try (Connection connection = Broker.connect()) {
            Channel channel = connection.createChannel();

            // Sending to a queue that does not exist would lose the message, so the sender declares it too.
            channel.queueDeclare("hello", false, false, false, null);
            channel.basicPublish("", "hello", null, "Hello World!".getBytes(StandardCharsets.UTF_8));
            System.out.println(" [x] Sent 'Hello World!'");
        }
    }
}
