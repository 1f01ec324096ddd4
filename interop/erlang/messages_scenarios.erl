-module(messages_scenarios).

-export([message_properties/1, header_field_types/1, body_sizes/1, body_16_mib/1]).
-export([pattern/1]).

-include("scenarios.hrl").

-define(FRAME_MAX, 131072).
-define(FRAME_OVERHEAD, 8).

pattern(Size) ->
    << <<(N rem 251)>> || N <- lists:seq(0, Size - 1) >>.

message_properties(Session = #session{params = #amqp_params_network{username = User}}) ->
    Channel = channel(Session),
    Queue = queue(Session, Channel, "queue"),
    Every = #'P_basic'{
        content_type = <<"application/json">>,
        content_encoding = <<"gzip">>,
        headers = [{<<"key">>, longstr, <<"value">>}],
        delivery_mode = 2,
        priority = 7,
        correlation_id = <<"correlation">>,
        reply_to = <<"reply.queue">>,
        expiration = <<"3600000">>,
        message_id = <<"message-1">>,
        timestamp = 1700000000,
        type = <<"order.created">>,
        user_id = User,
        app_id = <<"interop">>,
        cluster_id = <<"cluster">>
    },
    lists:foreach(
        fun(Given) ->
            send(Channel, Queue, [#amqp_msg{props = Given, payload = <<"body">>}]),
            {_, Received} = get_one_no_ack(Channel, Queue),
            equal(Received, #amqp_msg{props = Given, payload = <<"body">>}, "message")
        end,
        [
            Every,
            #'P_basic'{},
            #'P_basic'{priority = 0, headers = []},
            #'P_basic'{message_id = <<>>, delivery_mode = 1}
        ]
    ).

header_field_types(Session) ->
    Channel = channel(Session),
    Queue = queue(Session, Channel, "queue"),
    Scalars = [
        {<<"longstr">>, longstr, <<"text äöü"/utf8>>},
        {<<"empty longstr">>, longstr, <<>>},
        {<<"binary">>, binary, <<0, 255, 254>>},
        {<<"true">>, bool, true},
        {<<"false">>, bool, false},
        {<<"byte">>, byte, -128},
        {<<"unsignedbyte">>, unsignedbyte, 255},
        {<<"short">>, short, -32768},
        {<<"unsignedshort">>, unsignedshort, 65535},
        {<<"signedint">>, signedint, -2147483648},
        {<<"unsignedint">>, unsignedint, 4294967295},
        {<<"long">>, long, -9223372036854775808},
        {<<"float">>, float, 0.5},
        {<<"double">>, double, 1.2345678901234567},
        {<<"decimal">>, decimal, {3, 12345}},
        {<<"timestamp">>, timestamp, 1709209815},
        {<<"void">>, void, undefined}
    ],
    Values = [{Type, Value} || {_, Type, Value} <- Scalars],
    Headers = Scalars ++ [
        {<<"array">>, array, Values ++ [{array, [{bool, true}, {void, undefined}]}, {table, Scalars}]},
        {<<"empty array">>, array, []},
        {<<"table">>, table, Scalars ++ [{<<"deeper">>, table, [{<<"deepest">>, table, []}]}]},
        {binary:copy(<<"k">>, 255), longstr, <<"long key">>}
    ],
    send(Channel, Queue, [#amqp_msg{props = #'P_basic'{headers = Headers}}]),
    {_, #amqp_msg{props = #'P_basic'{headers = Received}}} = get_one_no_ack(Channel, Queue),
    equal(Received, Headers, "headers").

body_sizes(Session) ->
    Connection = connect(Session),
    equal(amqp_connection:info(Connection, [frame_max]), [{frame_max, ?FRAME_MAX}], "frame_max"),
    {ok, Channel} = amqp_connection:open_channel(Connection),
    Queue = queue(Session, Channel, "queue"),
    Tag = consume_no_ack(Channel, Queue),
    Frame = ?FRAME_MAX - ?FRAME_OVERHEAD,
    Bodies = [pattern(Size) || Size <- [0, 1, Frame - 1, Frame, Frame + 1, 2 * Frame - 1, 2 * Frame, 2 * Frame + 1]],
    send(Channel, Queue, Bodies),
    Received = bodies(take(Tag, length(Bodies))),
    equal([byte_size(Body) || Body <- Received], [byte_size(Body) || Body <- Bodies], "body sizes"),
    is_true(Received =:= Bodies, "the bodies are unchanged").

body_16_mib(Session) ->
    Channel = channel(Session),
    Queue = queue(Session, Channel, "queue"),
    Body = rand:bytes(16 * 1024 * 1024),
    send_confirmed(Channel, Queue, [Body]),
    [Received] = bodies(take(consume_no_ack(Channel, Queue), 1)),
    equal(byte_size(Received), byte_size(Body), "body size"),
    is_true(Received =:= Body, "the body is unchanged").
