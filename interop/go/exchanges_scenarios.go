package main

import (
	"fmt"
	"sort"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

var exchangeScenarios = scenarios{
	"predeclared_exchanges":    predeclaredExchanges,
	"exchange_mismatch":        exchangeMismatch,
	"default_exchange":         defaultExchange,
	"direct_exchange":          directExchange,
	"fanout_exchange":          fanoutExchange,
	"topic_exchange":           topicExchange,
	"headers_exchange":         headersExchange,
	"exchange_to_exchange":     exchangeToExchange,
	"alternate_exchange":       alternateExchange,
	"internal_exchange":        internalExchange,
	"auto_delete_exchange":     autoDeleteExchange,
	"unbind":                   unbind,
	"consistent_hash_exchange": consistentHashExchange,
	"modulus_hash_exchange":    modulusHashExchange,
	"random_exchange":          randomExchange,
	"recent_history_exchange":  recentHistoryExchange,
	"delayed_exchange":         delayedExchange,
	"sender_selected_keys":     senderSelectedKeys,
}

func predeclaredExchanges(s *session) {
	ch := s.channel()
	for _, exchange := range []struct{ name, kind string }{
		{"amq.direct", amqp.ExchangeDirect},
		{"amq.fanout", amqp.ExchangeFanout},
		{"amq.topic", amqp.ExchangeTopic},
		{"amq.headers", amqp.ExchangeHeaders},
		{"amq.match", amqp.ExchangeHeaders},
	} {
		check(ch.ExchangeDeclarePassive(exchange.name, exchange.kind, true, false, false, false, nil))
		check(ch.ExchangeDeclare(exchange.name, exchange.kind, true, false, false, false, nil))
	}
}

func exchangeMismatch(s *session) {
	connection := s.connect()
	exchange := s.exchange(must(connection.Channel()), amqp.ExchangeDirect, "exchange")
	const flag = "received 'true' but current is 'false'"
	for _, other := range []struct {
		kind                 string
		options              exchangeOptions
		argument, difference string
	}{
		{amqp.ExchangeFanout, exchangeOptions{}, "type", "received 'fanout' but current is 'direct'"},
		{amqp.ExchangeDirect, exchangeOptions{durable: true}, "durable", flag},
		{amqp.ExchangeDirect, exchangeOptions{autoDelete: true}, "auto_delete", flag},
		{amqp.ExchangeDirect, exchangeOptions{internal: true}, "internal", flag},
		{
			amqp.ExchangeDirect,
			exchangeOptions{arguments: amqp.Table{"alternate-exchange": "amq.fanout"}},
			"alternate-exchange",
			"received the value 'amq.fanout' of type 'longstr' but current is none",
		},
	} {
		text := fmt.Sprintf("PRECONDITION_FAILED - inequivalent arg '%s' for exchange '%s' in vhost '/': %s",
			other.argument, exchange, other.difference)
		channelError(connection, amqp.PreconditionFailed, text, func(ch *amqp.Channel) error {
			options := other.options
			return ch.ExchangeDeclare(
				exchange, other.kind, options.durable, options.autoDelete, options.internal, false, options.arguments)
		})
	}
	again := must(connection.Channel())
	check(again.ExchangeDeclare(exchange, amqp.ExchangeDirect, false, false, false, false, nil))
}

func defaultExchange(s *session) {
	ch := s.channel()
	first, second := s.queue(ch, "first"), s.queue(ch, "second")
	send(ch, first, "to first")
	send(ch, second, "to second")
	send(ch, s.name("nobody"), "to nobody")
	equal(drain(ch, first), []string{"to first"}, "first")
	equal(drain(ch, second), []string{"to second"}, "second")
}

func directExchange(s *session) {
	ch := s.channel()
	exchange := s.exchange(ch, amqp.ExchangeDirect, "exchange")
	errors, everything := s.queue(ch, "errors"), s.queue(ch, "everything")
	check(bind(errors, exchange, "error")(ch))
	for _, severity := range []string{"info", "warning", "error", "error"} {
		check(bind(everything, exchange, severity)(ch))
	}
	for _, severity := range []string{"info", "warning", "error", "debug"} {
		publishText(ch, exchange, severity, severity)
	}
	equal(drain(ch, errors), []string{"error"}, "errors")
	equal(drain(ch, everything), []string{"info", "warning", "error"}, "everything")
}

func fanoutExchange(s *session) {
	ch := s.channel()
	exchange := s.exchange(ch, amqp.ExchangeFanout, "exchange")
	queues := s.boundQueues(ch, exchange, "ignored-0", "ignored-1", "ignored-2", "ignored-3", "ignored-4")
	publishText(ch, exchange, "", "one")
	publishText(ch, exchange, "any.key", "two")
	for _, queue := range queues {
		equal(drain(ch, queue), []string{"one", "two"}, queue)
	}
}

// boundQueues declares a queue for each key and binds it.
func (s *session) boundQueues(ch *amqp.Channel, exchange string, keys ...string) []string {
	queues := make([]string, len(keys))
	for n, key := range keys {
		queues[n] = s.queue(ch, fmt.Sprintf("queue %d", n))
		check(bind(queues[n], exchange, key)(ch))
	}
	return queues
}

var topicCases = []struct {
	key      string
	matching []string
}{
	{"a.b.c", []string{"a.b.c", "a.*.c", "*.b.*", "*.*.*", "#", "a.#", "#.c", "a.#.c", "a.#.#", "#.b.#"}},
	{"a.c", []string{"#", "a.#", "#.c", "a.#.c", "a.#.#", "*.*"}},
	{"a", []string{"#", "a.#", "*", "a.#.#"}},
	{"", []string{"#"}},
	{"a..c", []string{"a.*.c", "*.*.*", "#", "a.#", "#.c", "a.#.c", "a.#.#", "a..c"}},
	{"b", []string{"#", "*", "#.b.#"}},
}

func topicExchange(s *session) {
	ch := s.channel()
	exchange := s.exchange(ch, amqp.ExchangeTopic, "exchange")
	matched, keys := map[string][]string{}, []string{}
	for _, topic := range topicCases {
		keys = append(keys, topic.key)
		for _, pattern := range topic.matching {
			matched[pattern] = append(matched[pattern], topic.key)
		}
	}
	once := s.queue(ch, "one copy")
	for pattern := range matched {
		check(bind(s.queue(ch, "["+pattern+"]"), exchange, pattern)(ch))
		check(bind(once, exchange, pattern)(ch))
	}
	for _, key := range keys {
		publishText(ch, exchange, key, key)
	}
	for pattern, expected := range matched {
		equal(drain(ch, s.name("["+pattern+"]")), expected, "keys that "+pattern+" matches")
	}
	equal(drain(ch, once), keys, "one copy of each")
}

func withMatch(match string, arguments amqp.Table) amqp.Table {
	table := amqp.Table{"x-match": match}
	for name, value := range arguments {
		table[name] = value
	}
	return table
}

func headersExchange(s *session) {
	ch := s.channel()
	exchange := s.exchange(ch, amqp.ExchangeHeaders, "exchange")
	bound := func(label string, arguments amqp.Table) string {
		queue := s.queue(ch, label)
		check(ch.QueueBind(queue, "", exchange, false, arguments))
		return queue
	}
	wanted := amqp.Table{"format": "pdf", "pages": int32(3), "draft": false}
	tiered := amqp.Table{"format": "pdf", "x-tier": "gold"}
	expected := []struct {
		queue  string
		labels []string
	}{
		{bound("all", withMatch("all", wanted)), []string{"all"}},
		{bound("any", withMatch("any", wanted)), []string{"all", "format only", "draft only", "tiered"}},
		{bound("default", wanted), []string{"all"}},
		{bound("tiered all", withMatch("all", tiered)), []string{"all", "format only", "tiered"}},
		{bound("tiered all-with-x", withMatch("all-with-x", tiered)), []string{"tiered"}},
		{
			bound("tiered any-with-x", withMatch("any-with-x", tiered)),
			[]string{"all", "format only", "tiered", "tier only"},
		},
	}
	for _, message := range []struct {
		label   string
		headers amqp.Table
	}{
		{"all", amqp.Table{"format": "pdf", "pages": int32(3), "draft": false, "extra": "ignored"}},
		{"format only", amqp.Table{"format": "pdf", "pages": int32(4)}},
		{"draft only", amqp.Table{"draft": false}},
		{"none", amqp.Table{"format": "zip", "pages": int32(4), "draft": true}},
		{"no headers", nil},
		{"tiered", tiered},
		{"tier only", amqp.Table{"x-tier": "gold"}},
	} {
		publish(ch, exchange, "", amqp.Publishing{Headers: message.headers, Body: []byte(message.label)})
	}
	for _, each := range expected {
		equal(drain(ch, each.queue), each.labels, each.queue)
	}
}

func exchangeToExchange(s *session) {
	ch := s.channel()
	source := s.exchange(ch, amqp.ExchangeTopic, "source")
	middle := s.exchange(ch, amqp.ExchangeFanout, "middle")
	queue := s.queue(ch, "queue")
	check(ch.ExchangeBind(middle, "orders.#", source, false, nil))
	check(ch.ExchangeBind(source, "", middle, false, nil))
	check(bind(queue, middle, "")(ch))
	check(bind(queue, source, "#")(ch))
	publishText(ch, source, "orders.new", "both ways")
	publishText(ch, source, "other", "directly")
	equal(drain(ch, queue), []string{"both ways", "directly"}, "messages, one copy each")
	check(ch.ExchangeUnbind(middle, "orders.#", source, false, nil))
	check(ch.QueueUnbind(queue, "#", source, nil))
	publishText(ch, source, "orders.new", "nowhere")
	equal(drain(ch, queue), []string{}, "messages after unbind")
}

func alternateExchange(s *session) {
	ch := s.channel()
	fallback := s.exchange(ch, amqp.ExchangeFanout, "fallback")
	exchange := s.exchangeWith(ch, amqp.ExchangeDirect, "main",
		exchangeOptions{arguments: amqp.Table{"alternate-exchange": fallback}})
	known, unknown := s.queue(ch, "known"), s.queue(ch, "unknown")
	check(bind(known, exchange, "known")(ch))
	check(bind(unknown, fallback, "")(ch))
	returns := ch.NotifyReturn(make(chan amqp.Return, 2))
	check(ch.Publish(exchange, "known", true, false, amqp.Publishing{Body: []byte("matched")}))
	check(ch.Publish(exchange, "stray", true, false, amqp.Publishing{Body: []byte("not matched")}))
	equal(drain(ch, known), []string{"matched"}, "matched")
	stray := getOne(ch, unknown, true)
	equal([]string{stray.Exchange, stray.RoutingKey, string(stray.Body)},
		[]string{exchange, "stray", "not matched"}, "not matched")
	equal(len(returns), 0, "messages returned")
}

func internalExchange(s *session) {
	connection := s.connect()
	ch := must(connection.Channel())
	front := s.exchange(ch, amqp.ExchangeDirect, "front")
	internal := s.exchangeWith(ch, amqp.ExchangeFanout, "internal", exchangeOptions{internal: true})
	queue := s.queue(ch, "queue")
	check(ch.ExchangeBind(internal, "in", front, false, nil))
	check(bind(queue, internal, "")(ch))
	publishText(ch, front, "in", "through the front")
	equal(drain(ch, queue), []string{"through the front"}, "messages")
	text := fmt.Sprintf("ACCESS_REFUSED - cannot publish to internal exchange '%s' in vhost '/'", internal)
	channelError(connection, amqp.AccessRefused, text, publishTo(internal))
	equal(drain(ch, queue), []string{}, "messages after the refused publish")
}

func autoDeleteExchange(s *session) {
	connection := s.connect()
	ch := must(connection.Channel())
	exchange := s.exchangeWith(ch, amqp.ExchangeFanout, "exchange", exchangeOptions{autoDelete: true})
	queue := s.queue(ch, "queue")
	check(bind(queue, exchange, "one")(ch))
	check(bind(queue, exchange, "two")(ch))
	passively := func(ch *amqp.Channel) error {
		return ch.ExchangeDeclarePassive(exchange, amqp.ExchangeFanout, false, true, false, false, nil)
	}
	check(ch.QueueUnbind(queue, "one", exchange, nil))
	check(passively(ch))
	check(ch.QueueUnbind(queue, "two", exchange, nil))
	channelError(connection, amqp.NotFound, fmt.Sprintf("NOT_FOUND - no exchange '%s' in vhost '/'", exchange), passively)
}

func unbind(s *session) {
	ch := s.channel()
	exchange := s.exchange(ch, amqp.ExchangeHeaders, "exchange")
	queue := s.queue(ch, "queue")
	red, blue := amqp.Table{"x-match": "all", "colour": "red"}, amqp.Table{"x-match": "all", "colour": "blue"}
	check(ch.QueueBind(queue, "", exchange, false, red))
	check(ch.QueueBind(queue, "", exchange, false, blue))
	check(ch.QueueUnbind(queue, "", exchange, red))
	check(ch.QueueUnbind(queue, "never bound", exchange, blue))
	for _, colour := range []string{"red", "blue"} {
		publish(ch, exchange, "", amqp.Publishing{Headers: amqp.Table{"colour": colour}, Body: []byte(colour)})
	}
	equal(drain(ch, queue), []string{"blue"}, "messages")
}

// byNumber sorts the texts of numbers.
func byNumber(texts []string) []string {
	sort.Slice(texts, func(i, j int) bool { return must(strconv.Atoi(texts[i])) < must(strconv.Atoi(texts[j])) })
	return texts
}

// shares takes everything out of queues, none of which may be empty: all numbers must be there, once each.
func shares(ch *amqp.Channel, queues []string, count int) [][]string {
	byQueue, all := [][]string{}, []string{}
	for _, queue := range queues {
		share := drain(ch, queue)
		isTrue(len(share) > 0, queue+" gets some")
		byQueue, all = append(byQueue, share), append(all, share...)
	}
	equal(byNumber(all), numbers(0, count), "messages in all queues")
	return byQueue
}

func consistentHashExchange(s *session) {
	ch := s.channel()
	byKey := s.exchange(ch, "x-consistent-hash", "by key")
	byHeader := s.exchangeWith(ch, "x-consistent-hash", "by header",
		exchangeOptions{arguments: amqp.Table{"hash-header": "hash-on"}})
	queues := make([]string, 3)
	for n, weight := range []string{"1", "1", "4"} {
		queues[n] = s.queue(ch, fmt.Sprintf("queue %d of weight %s", n, weight))
		check(bind(queues[n], byKey, weight)(ch))
		check(bind(queues[n], byHeader, weight)(ch))
	}
	for _, publishAll := range []func(){
		func() {
			for _, number := range numbers(0, 1000) {
				publishText(ch, byKey, number, number)
			}
		},
		func() {
			for _, number := range numbers(0, 1000) {
				message := amqp.Publishing{Headers: amqp.Table{"hash-on": number}, Body: []byte(number)}
				publish(ch, byHeader, "the same key", message)
			}
		},
	} {
		publishAll()
		first := shares(ch, queues, 1000)
		isTrue(len(first[2]) > len(first[0]) && len(first[2]) > len(first[1]), "the weight 4 gets most")
		publishAll()
		equal(shares(ch, queues, 1000), first, "the same again")
	}
}

func modulusHashExchange(s *session) {
	ch := s.channel()
	exchange := s.exchange(ch, "x-modulus-hash", "exchange")
	queues := s.boundQueues(ch, exchange, "", "", "")
	for n := 0; n < 2; n++ {
		for _, number := range numbers(0, 100) {
			publishText(ch, exchange, number, number)
		}
	}
	holders := map[string][]string{}
	for _, queue := range queues {
		for _, number := range drain(ch, queue) {
			holders[number] = append(holders[number], queue)
		}
	}
	for _, number := range numbers(0, 100) {
		equal(len(holders[number]), 2, "copies of "+number)
		equal(holders[number][0], holders[number][1], "queue of "+number)
	}
}

func randomExchange(s *session) {
	ch := s.channel()
	exchange := s.exchange(ch, "x-random", "exchange")
	queues := s.boundQueues(ch, exchange, "", "", "")
	for _, number := range numbers(0, 200) {
		publishText(ch, exchange, "the same key", number)
	}
	shares(ch, queues, 200)
}

func recentHistoryExchange(s *session) {
	ch := s.channel()
	exchange := s.exchangeWith(ch, "x-recent-history", "exchange",
		exchangeOptions{arguments: amqp.Table{"x-recent-history-length": 5}})
	early := s.boundQueues(ch, exchange, "")[0]
	for _, number := range numbers(0, 10) {
		publishText(ch, exchange, "", number)
	}
	late := s.queue(ch, "late")
	check(bind(late, exchange, "")(ch))
	publishText(ch, exchange, "", "10")
	equal(drain(ch, early), numbers(0, 11), "messages of the queue bound early")
	awaitReady(ch, late, 6)
	equal(drain(ch, late), numbers(5, 11), "messages of the queue bound late")
}

func delayedExchange(s *session) {
	ch := s.channel()
	exchange := s.exchangeWith(ch, "x-delayed-message", "exchange",
		exchangeOptions{arguments: amqp.Table{"x-delayed-type": amqp.ExchangeDirect}})
	queue := s.queue(ch, "queue")
	check(bind(queue, exchange, "key")(ch))
	inbox := consumeAutoAck(ch, queue)
	started := time.Now()
	for _, delay := range []int{300, 100, 200} {
		message := amqp.Publishing{Headers: amqp.Table{"x-delay": delay}, Body: []byte(strconv.Itoa(delay))}
		publish(ch, exchange, "key", message)
		publish(ch, exchange, "another key", message)
	}
	for _, delay := range []int{100, 200, 300} {
		equal(string(inbox.take(1)[0].Body), strconv.Itoa(delay), "next message")
		isTrue(time.Since(started) >= time.Duration(delay)*time.Millisecond, "its delay is over")
	}
	equal(bodies(inbox.finish()), []string{}, "further messages")
}

func senderSelectedKeys(s *session) {
	ch := s.channel()
	exchange := s.exchange(ch, amqp.ExchangeDirect, "exchange")
	headers := amqp.Table{"CC": []any{"cc", "to"}, "BCC": []any{"bcc"}, "kept": "yes"}
	queues := s.boundQueues(ch, exchange, "to", "cc", "bcc")
	publish(ch, exchange, "to", amqp.Publishing{Headers: headers, Body: []byte("letter")})
	for _, queue := range queues {
		message := getOne(ch, queue, true)
		equal([]string{message.RoutingKey, string(message.Body)}, []string{"to", "letter"}, "message in "+queue)
		equal(message.Headers, amqp.Table{"CC": []any{"cc", "to"}, "kept": "yes"}, "headers in "+queue)
		equal(drain(ch, queue), []string{}, "further copies in "+queue)
	}
}
