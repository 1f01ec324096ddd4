import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Routing: sends a line with its severity as the routing key. */
public class EmitLogDirect {
    public static void main(String[] args) throws Exception {
        String severity = args.length > 0 ? args[0] : "info";
        String message =
                args.length > 1 ? String.join(" ", Arrays.copyOfRange(args, 1, args.length)) : "Hello World!";
        try (Connection connection = Broker.connect()) {
            Channel channel = connection.createChannel();
            channel.exchangeDeclare("direct_logs", BuiltinExchangeType.DIRECT);
            channel.basicPublish("direct_logs", severity, null, message.getBytes(StandardCharsets.UTF_8));
            System.out.println(" [x] Sent " + severity + ":'" + message + "'");
        }
    }
}
