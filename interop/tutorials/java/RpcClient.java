import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import java.nio.charset.StandardCharsets;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/** RPC: asks for one Fibonacci number and waits for the answer. */
public class RpcClient implements AutoCloseable {
    private final Connection connection;
    private final Channel channel;

    RpcClient() throws Exception {
        connection = Broker.connect();
        channel = connection.createChannel();
    }

    public static void main(String[] args) throws Exception {
        int n = args.length > 0 ? Integer.parseInt(args[0]) : 30;
        try (RpcClient client = new RpcClient()) {
            System.out.println(" [x] Requesting fib(" + n + ")");
            System.out.println(" [.] Got " + client.call(n));
        }
    }

    String call(int n) throws Exception {
        String correlationId = UUID.randomUUID().toString();
        String replies = channel.queueDeclare().getQueue();
        CompletableFuture<String> answer = new CompletableFuture<>();
        String consumerTag = channel.basicConsume(replies, true, (tag, delivery) -> {
            // Whoever knows the queue may write to it, so only the answer to this question counts.
            if (correlationId.equals(delivery.getProperties().getCorrelationId())) {
                answer.complete(new String(delivery.getBody(), StandardCharsets.UTF_8));
            }
        }, tag -> {});

        AMQP.BasicProperties properties =
                new AMQP.BasicProperties.Builder().replyTo(replies).correlationId(correlationId).build();
        channel.basicPublish("", "rpc_queue", properties, String.valueOf(n).getBytes(StandardCharsets.UTF_8));
        String result = answer.get();
        channel.basicCancel(consumerTag);
        return result;
    }

    @Override
    public void close() throws Exception {
        connection.close();
    }
}
