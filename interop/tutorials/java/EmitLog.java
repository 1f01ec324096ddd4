import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import java.nio.charset.StandardCharsets;

/** Publish/subscribe: broadcasts a line to whoever listens now. */
public class EmitLog {
    public static void main(String[] args) throws Exception {
        String message = args.length > 0 ? String.join(" ", args) : "info: Hello World!";
        try (Connection connection = Broker.connect()) {
            Channel channel = connection.createChannel();
            channel.exchangeDeclare("logs", BuiltinExchangeType.FANOUT);
            channel.basicPublish("logs", "", null, message.getBytes(StandardCharsets.UTF_8));
            System.out.println(" [x] Sent '" + message + "'");
        }
    }
}
