package interop;

import static interop.Amqp.bytes;
import static interop.Amqp.drain;
import static interop.Amqp.drainMarked;
import static interop.Amqp.send;
import static interop.Expect.channelError;
import static interop.Expect.closedByBroker;
import static interop.harness.Check.equal;
import static interop.harness.Check.isTrue;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.Delivery;
import java.util.ArrayList;
import java.util.List;

final class TransactionAndRpcScenarios {
    private static final String REPLY_TO = "amq.rabbitmq.reply-to";

    private TransactionAndRpcScenarios() {}

    static void txCommit(Session session) throws Exception {
        Connection connection = session.connect();
        Channel observer = connection.createChannel();
        Channel channel = connection.createChannel();
        String queue = session.queue(observer);
        String done = session.queue(observer, "done");
        send(channel, queue, "job");
        channel.txSelect();
        long job = channel.basicGet(queue, false).getEnvelope().getDeliveryTag();
        send(channel, done, "one", "two");
        channel.basicAck(job, false);
        equal(drain(channel, done), List.of(), "messages before the commit");
        channel.txCommit();
        equal(drain(observer, done), List.of("one", "two"), "messages after the commit");
        channel.close();
        equal(drain(observer, queue), List.of(), "jobs left");
        channelError(connection, 406, "PRECONDITION_FAILED - channel is not transactional", Channel::txCommit);
        channelError(connection, 406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode", both -> {
            both.txSelect();
            both.confirmSelect();
        });
    }

    static void txRollback(Session session) throws Exception {
        Connection connection = session.connect();
        Channel observer = connection.createChannel();
        Channel channel = connection.createChannel();
        String queue = session.queue(observer);
        String done = session.queue(observer, "done");
        send(channel, queue, "job");
        channel.txSelect();
        long job = channel.basicGet(queue, false).getEnvelope().getDeliveryTag();
        send(channel, done, "dropped");
        channel.basicAck(job, false);
        channel.txRollback();
        equal(drain(observer, done), List.of(), "messages after the rollback");
        equal(drain(observer, queue), List.of(), "the job is still held");
        send(channel, done, "kept");
        channel.txCommit();
        channel.close();
        equal(drain(observer, done), List.of("kept"), "messages of the next transaction");
        equal(drainMarked(observer, queue), List.of("job again"), "the job comes back");
    }

    /** Answers each request with twice its number, wherever it wants the answer. */
    private static void serveDoubles(Channel channel, String requests) throws Exception {
        channel.basicConsume(requests, false, (tag, request) -> {
            AMQP.BasicProperties asked = request.getProperties();
            AMQP.BasicProperties properties =
                    new AMQP.BasicProperties.Builder().correlationId(asked.getCorrelationId()).build();
            int answer = 2 * Integer.parseInt(Inbox.body(request));
            channel.basicPublish("", asked.getReplyTo(), properties, bytes(String.valueOf(answer)));
            channel.basicAck(request.getEnvelope().getDeliveryTag(), false);
        }, tag -> {});
    }

    private static void callHundredTimes(Channel caller, Inbox replies, String replyTo, String requests)
            throws Exception {
        List<String> expected = new ArrayList<>();
        for (int n = 0; n < 100; n++) {
            AMQP.BasicProperties properties =
                    new AMQP.BasicProperties.Builder().replyTo(replyTo).correlationId("call-" + n).build();
            caller.basicPublish("", requests, properties, bytes(String.valueOf(n)));
            replies.await(n + 1);
            expected.add("call-" + n + " " + 2 * n);
        }
        List<String> answers = new ArrayList<>();
        for (Delivery reply : replies.received()) {
            answers.add(reply.getProperties().getCorrelationId() + " " + Inbox.body(reply));
        }
        equal(answers, expected, "answers");
    }

    static void rpcReplyQueue(Session session) throws Exception {
        Channel caller = session.channel();
        String requests = session.sharedQueue(caller, "requests");
        serveDoubles(session.channel(), requests);
        String replyQueue = caller.queueDeclare().getQueue();
        callHundredTimes(caller, Inbox.openNoAck(caller, replyQueue), replyQueue, requests);
    }

    static void directReplyTo(Session session) throws Exception {
        Channel server = session.channel();
        Connection connection = session.connect();
        Channel caller = connection.createChannel();
        String requests = session.sharedQueue(caller, "requests");
        Inbox replies = Inbox.openNoAck(caller, REPLY_TO);
        Inbox seen = Inbox.openNoAck(server, requests);
        AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder().replyTo(REPLY_TO).build();
        caller.basicPublish("", requests, properties, new byte[0]);
        String address = seen.await(1).get(0).getProperties().getReplyTo();
        server.basicCancel(seen.tag());
        isTrue(address.startsWith(REPLY_TO + "."), "reply_to as the server sees it, " + address);
        AMQP.Queue.DeclareOk declared = server.queueDeclarePassive(address);
        equal(declared.getMessageCount(), 0, "messages of the caller");
        equal(declared.getConsumerCount(), 1, "the caller is there");

        serveDoubles(server, requests);
        callHundredTimes(caller, replies, REPLY_TO, requests);
        connection.close();
        closedByBroker(server, 404, "NOT_FOUND - no queue '" + address + "' in vhost '/'",
                () -> server.queueDeclarePassive(address));
    }

    static void directReplyToErrors(Session session) throws Exception {
        Connection connection = session.connect();
        channelError(connection, 406, "PRECONDITION_FAILED - reply consumer cannot acknowledge",
                channel -> Inbox.open(channel, REPLY_TO));
        channelError(connection, 406, "PRECONDITION_FAILED - reply consumer already set", channel -> {
            Inbox.openNoAck(channel, REPLY_TO);
            Inbox.openNoAck(channel, REPLY_TO);
        });
        AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder().replyTo(REPLY_TO).build();
        channelError(connection, 406, "PRECONDITION_FAILED - fast reply consumer does not exist",
                channel -> channel.basicPublish("", "nobody", properties, new byte[0]));
    }
}
