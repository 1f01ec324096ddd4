package main

import (
	"fmt"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

var transactionAndRPCScenarios = scenarios{
	"tx_commit":              txCommit,
	"tx_rollback":            txRollback,
	"rpc_reply_queue":        rpcReplyQueue,
	"direct_reply_to":        directReplyTo,
	"direct_reply_to_errors": directReplyToErrors,
}

const replyTo = "amq.rabbitmq.reply-to"

func txCommit(s *session) {
	connection := s.connect()
	observer, ch := must(connection.Channel()), must(connection.Channel())
	queue, done := s.queue(observer, "queue"), s.queue(observer, "done")
	send(ch, queue, "job")
	check(ch.Tx())
	job := getOne(ch, queue, false)
	send(ch, done, "one", "two")
	check(job.Ack(false))
	equal(drain(ch, done), []string{}, "messages before the commit")
	check(ch.TxCommit())
	equal(drain(observer, done), []string{"one", "two"}, "messages after the commit")
	check(ch.Close())
	equal(drain(observer, queue), []string{}, "jobs left")
	channelError(connection, amqp.PreconditionFailed, "PRECONDITION_FAILED - channel is not transactional",
		func(ch *amqp.Channel) error { return ch.TxCommit() })
	channelError(connection, amqp.PreconditionFailed, "PRECONDITION_FAILED - cannot switch from tx to confirm mode",
		func(ch *amqp.Channel) error {
			check(ch.Tx())
			return ch.Confirm(false)
		})
}

func txRollback(s *session) {
	connection := s.connect()
	observer, ch := must(connection.Channel()), must(connection.Channel())
	queue, done := s.queue(observer, "queue"), s.queue(observer, "done")
	send(ch, queue, "job")
	check(ch.Tx())
	job := getOne(ch, queue, false)
	send(ch, done, "dropped")
	check(job.Ack(false))
	check(ch.TxRollback())
	equal(drain(observer, done), []string{}, "messages after the rollback")
	equal(drain(observer, queue), []string{}, "jobs to be had while the channel holds one")
	send(ch, done, "kept")
	check(ch.TxCommit())
	check(ch.Close())
	equal(drain(observer, done), []string{"kept"}, "messages of the next transaction")
	equal(marked(takeAll(observer, queue)), []string{"job again"}, "the job comes back")
}

// serveDoubles answers each request with twice its number, wherever it wants the answer, until its channel closes.
func serveDoubles(ch *amqp.Channel, requests string) {
	inbox := consume(ch, requests)
	go func() {
		for request := range inbox.deliveries {
			number, err := strconv.Atoi(string(request.Body))
			if err != nil {
				_ = request.Reject(false)
				continue
			}
			_ = ch.Publish(amqp.DefaultExchange, request.ReplyTo, false, false, amqp.Publishing{
				CorrelationId: request.CorrelationId,
				Body:          []byte(strconv.Itoa(2 * number)),
			})
			_ = request.Ack(false)
		}
	}()
}

func callHundredTimes(ch *amqp.Channel, requests, replyTo string, replies *inbox) {
	for n := 0; n < 100; n++ {
		correlation := fmt.Sprint("call-", n)
		publish(ch, amqp.DefaultExchange, requests, amqp.Publishing{
			ReplyTo:       replyTo,
			CorrelationId: correlation,
			Body:          []byte(strconv.Itoa(n)),
		})
		reply := replies.take(1)[0]
		equal([]string{reply.CorrelationId, string(reply.Body), reply.Exchange},
			[]string{correlation, strconv.Itoa(2 * n), amqp.DefaultExchange}, "reply")
	}
	equal(bodies(replies.finish()), []string{}, "further replies")
}

func rpcReplyQueue(s *session) {
	server, caller := s.channel(), s.channel()
	requests := s.sharedQueue(server, "requests")
	serveDoubles(server, requests)
	replyQueue := must(caller.QueueDeclare("", false, false, true, false, nil)).Name
	callHundredTimes(caller, requests, replyQueue, consumeAutoAck(caller, replyQueue))
}

func directReplyTo(s *session) {
	connection := s.connect()
	server := must(connection.Channel())
	callers := s.connect()
	caller := must(callers.Channel())
	requests := s.sharedQueue(server, "requests")
	replies := consumeAutoAck(caller, replyTo)
	publish(caller, amqp.DefaultExchange, requests, amqp.Publishing{ReplyTo: replyTo})
	address := awaitOne(server, requests).ReplyTo
	isTrue(strings.HasPrefix(address, replyTo+"."), "reply_to is an address for the server: "+address)
	equal(inspect(server, address), amqp.Queue{Name: address, Consumers: 1}, "the caller is there")
	serveDoubles(server, requests)
	callHundredTimes(caller, requests, replyTo, replies)
	check(callers.Close())
	channelError(connection, amqp.NotFound, noQueue(address), declarePassively(address))
}

func directReplyToErrors(s *session) {
	connection := s.connect()
	channelError(connection, amqp.PreconditionFailed, "PRECONDITION_FAILED - reply consumer cannot acknowledge",
		consumeFrom(replyTo, consumeOptions{}))
	channelError(connection, amqp.PreconditionFailed, "PRECONDITION_FAILED - reply consumer already set",
		func(ch *amqp.Channel) error {
			consumeAutoAck(ch, replyTo)
			return consumeFrom(replyTo, consumeOptions{autoAck: true})(ch)
		})
	channelError(connection, amqp.PreconditionFailed, "PRECONDITION_FAILED - fast reply consumer does not exist",
		func(ch *amqp.Channel) error {
			publish(ch, amqp.DefaultExchange, "nobody", amqp.Publishing{ReplyTo: replyTo})
			return nil
		})
}
