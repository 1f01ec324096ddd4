import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.DeliverCallback;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;

/** RPC: answers requests for Fibonacci numbers. */
public class RpcServer {
    public static void main(String[] args) throws Exception {
        Connection connection = Broker.connect();
        Broker.closeOnInterrupt(connection);
        Channel channel = connection.createChannel();
        channel.queueDeclare("rpc_queue", false, false, false, null);
        channel.basicQos(1);

        DeliverCallback onRequest = (consumerTag, delivery) -> {
            int n = Integer.parseInt(new String(delivery.getBody(), StandardCharsets.UTF_8));
            System.out.println(" [.] fib(" + n + ")");
            AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder()
                    .correlationId(delivery.getProperties().getCorrelationId())
                    .build();
            byte[] answer = fib(n).toString().getBytes(StandardCharsets.UTF_8);
            channel.basicPublish("", delivery.getProperties().getReplyTo(), properties, answer);
            channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
        };
        channel.basicConsume("rpc_queue", false, onRequest, consumerTag -> {});
        System.out.println(" [x] Waiting for RPC requests");
    }

    private static BigInteger fib(int n) {
        BigInteger previous = BigInteger.ZERO;
        BigInteger current = BigInteger.ONE;
        for (int i = 0; i < n; i++) {
            BigInteger next = previous.add(current);
            previous = current;
            current = next;
        }
        return previous;
    }
}
