package interop.spring;

import static interop.harness.Bodies.numbers;
import static interop.harness.Check.equal;
import static interop.harness.Check.isTrue;
import static interop.spring.Expect.channelError;
import static interop.spring.Expect.refused;

import com.rabbitmq.client.Channel;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.MessageProperties;
import org.springframework.amqp.core.QueueInformation;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory.ConfirmType;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.amqp.rabbit.listener.adapter.MessageListenerAdapter;
import org.springframework.amqp.rabbit.listener.adapter.ReplyingMessageListener;
import org.springframework.amqp.rabbit.transaction.RabbitTransactionManager;
import org.springframework.transaction.support.TransactionTemplate;

final class TransactionAndRpcScenarios {
    private static final String REPLY_TO = "amq.rabbitmq.reply-to";

    private TransactionAndRpcScenarios() {}

    private static RabbitTemplate transacted(Client client) {
        RabbitTemplate template = new RabbitTemplate(client.factory);
        template.setChannelTransacted(true);
        return template;
    }

    private static TransactionTemplate transactions(Client client) {
        return new TransactionTemplate(new RabbitTransactionManager(client.factory));
    }

    static void txCommit(Session session) throws Exception {
        Client observer = session.client();
        Client client = session.client(ConfirmType.NONE);
        String queue = observer.sharedQueue();
        String done = observer.sharedQueue("done");
        observer.send(queue, "job");
        RabbitTemplate template = transacted(client);
        transactions(client).executeWithoutResult(status -> {
            equal(template.receiveAndConvert(queue), "job", "job");
            template.convertAndSend("", done, "one");
            template.convertAndSend("", done, "two");
            equal(template.receive(done), null, "message before the commit, for the transaction itself");
            equal(observer.drain(done), List.of(), "messages before the commit");
        });
        equal(observer.drain(done), List.of("one", "two"), "messages after the commit");
        client.factory.destroy();
        equal(observer.drain(queue), List.of(), "jobs left");
        Client other = session.client(ConfirmType.NONE);
        channelError(other, 406, "PRECONDITION_FAILED - channel is not transactional", Channel::txCommit);
        refused(other, 406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode",
                () -> transacted(other).execute(Channel::confirmSelect));
    }

    static void txRollback(Session session) {
        Client observer = session.client();
        Client client = session.client(ConfirmType.NONE);
        String queue = observer.sharedQueue();
        String done = observer.sharedQueue("done");
        observer.send(queue, "job");
        RabbitTemplate template = transacted(client);
        transactions(client).executeWithoutResult(status -> {
            equal(template.receiveAndConvert(queue), "job", "job");
            template.convertAndSend("", done, "dropped");
            status.setRollbackOnly();
        });
        equal(observer.drain(done), List.of(), "messages after the rollback");
        equal(observer.drainMarked(queue), List.of("job again"), "the job comes back");
        transactions(client).executeWithoutResult(status -> template.convertAndSend("", done, "kept"));
        equal(observer.drain(done), List.of("kept"), "messages of the next transaction");
    }

    /** Answers each request with twice its number, wherever it wants the answer; the requests are remembered. */
    private static List<MessageProperties> serveDoubles(Client server, String requests) throws Exception {
        List<MessageProperties> asked = new CopyOnWriteArrayList<>();
        ReplyingMessageListener<String, String> doubling = number -> String.valueOf(2 * Integer.parseInt(number));
        Listening.simple(server, new MessageListenerAdapter(doubling), container ->
                container.setAfterReceivePostProcessors(request -> {
                    asked.add(request.getMessageProperties());
                    return request;
                }), requests);
        return asked;
    }

    private static void callHundredTimes(RabbitTemplate caller, String requests) {
        List<Object> answers = new ArrayList<>();
        for (String number : numbers(100)) {
            answers.add(caller.convertSendAndReceive("", requests, number));
        }
        List<String> expected = numbers(100).stream()
                .map(number -> String.valueOf(2 * Integer.parseInt(number)))
                .collect(Collectors.toList());
        equal(answers, expected, "answers");
    }

    private static void correlationIdsDiffer(List<MessageProperties> asked) {
        long ids = asked.stream().map(MessageProperties::getCorrelationId).distinct().count();
        equal(ids, (long) asked.size(), "correlation ids");
    }

    static void rpcReplyQueue(Session session) throws Exception {
        Client caller = session.client();
        String requests = caller.sharedQueue("requests");
        List<MessageProperties> asked = serveDoubles(session.client(), requests);
        String replies = caller.admin.declareQueue().getName();
        caller.template.setReplyAddress(replies);
        Listening.simple(caller, caller.template, container -> {}, replies);
        callHundredTimes(caller.template, requests);
        equal(asked.stream().map(MessageProperties::getReplyTo).distinct().collect(Collectors.toList()),
                List.of(replies), "reply queues");
        equal(asked.size(), 100, "requests");
        correlationIdsDiffer(asked);
    }

    /** The template replies over amq.rabbitmq.reply-to unless it is told otherwise. */
    static void directReplyTo(Session session) throws Exception {
        Client server = session.client();
        Client caller = session.client();
        String requests = server.sharedQueue("requests");
        List<QueueInformation> callers = new CopyOnWriteArrayList<>();
        List<String> addresses = new CopyOnWriteArrayList<>();
        Listening asking = Listening.direct(server, request -> {
            MessageProperties properties = request.getMessageProperties();
            addresses.add(properties.getReplyTo());
            callers.add(server.admin.getQueueInfo(properties.getReplyTo()));
            server.template.send("", properties.getReplyTo(), request);
        }, container -> {}, requests);
        Message echo = caller.template.sendAndReceive("", requests, new Message("echo".getBytes()));
        equal(Client.text(echo), "echo", "answer");
        equal(echo.getMessageProperties().getReceivedExchange(), "", "exchange of the answer");
        asking.stop();
        String address = addresses.get(0);
        isTrue(address.startsWith(REPLY_TO + "."), "reply_to as the server sees it, " + address);
        equal(callers.get(0).getMessageCount(), 0L, "messages of the caller");
        equal(callers.get(0).getConsumerCount(), 1, "the caller is there");

        List<MessageProperties> asked = serveDoubles(server, requests);
        callHundredTimes(caller.template, requests);
        equal(asked.stream().allMatch(request -> request.getReplyTo().startsWith(REPLY_TO + ".")), true, "reply_to");
        correlationIdsDiffer(asked);
        caller.template.destroy();
        caller.factory.destroy();
        channelError(server, 404, "NOT_FOUND - no queue '" + address + "' in vhost '/'",
                channel -> channel.queueDeclarePassive(address));
    }

    static void directReplyToErrors(Session session) throws Exception {
        Client client = session.client();
        channelError(client, 406, "PRECONDITION_FAILED - reply consumer cannot acknowledge",
                channel -> consume(channel, false));
        channelError(client, 406, "PRECONDITION_FAILED - reply consumer already set", channel -> {
            consume(channel, true);
            return consume(channel, true);
        });
        refused(client, 406, "PRECONDITION_FAILED - fast reply consumer does not exist",
                () -> client.template.convertAndSend("", "nobody", "lost", message -> {
                    message.getMessageProperties().setReplyTo(REPLY_TO);
                    return message;
                }));
    }

    private static String consume(Channel channel, boolean autoAck) throws Exception {
        return channel.basicConsume(REPLY_TO, autoAck, (tag, delivery) -> {}, tag -> {});
    }
}
