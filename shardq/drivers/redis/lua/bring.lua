-- A step of a move: messages of another storage come, and it is noted that they are here: `Movable.store`.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS EQUAL DUE AGAIN STARVED WAITING WAITS GRAVES LETTERS RESULTS SLEEPERS SLEEPS TALLIES CAME
-- needs: base takes_room records sleepers tallies threads equal tubes room pending letters
-- args: move, number (of the first message among all that move), count, place, pipe, most (bytes there may be), grave,
--   due_us, schedule, state (of the tube), partition, partitions, letter (number of the last one that came into any of
--   them), known (how many messages of the move were said to be here)
-- ARGV from 2 on: bodies; of a grave: letters. Returns how many messages of the move are here, -1 where there is no room,
-- -2 where the storage takes nothing of this move, -3 where it has less than it said; and the number of the last letter
-- here.
if not state.arriving or state.arriving_by ~= args.move then
    return {-2, 0}
end
if figure('arrived') > args.number then
    return {state.arrived, figure('letter')}
end
if figure('arrived') < args.known then
    return {-3, 0}
end
local nbytes = 0
for place = 2, #ARGV do
    local _, size = nil, #ARGV[place]
    if args.place ~= 'grave' then
        _, size = size_of(ARGV[place])
    end
    nbytes = nbytes + size
end
if args.most and figure('used') + nbytes > args.most then
    return {-1, 0}
end
state.letter = math.max(figure('letter'), args.letter)

-- What is known of the messages that are about to be the first of a tube.
local function note(key, its, name, known)
    local tube = tube_of(its, name)
    local failed = known.failed
    if failed then
        failed.number = tube.head
        tube.failed = failed
    end
    if known.isolated > 0 then
        tube.small, tube.small_through = known.at_most, tube.head + known.isolated
    end
    if known.rests_until_us > now then
        its.pause_end = known.rests_until_us
        redis.call('ZADD', TIMERS, its.pause_end, key)
    end
end

local function into_tube(body, first)
    local key, name = split_pipe(args.pipe)
    local its = thread(key)
    name = args.place == 'front' and 'f' .. name or name
    if first and args.state then
        note(key, its, name, args.state)
    end
    add(key, its, name, body)
end

local function into_waiting(body)
    if args.schedule then
        new_entry(AGAIN_AND_AGAIN, AGAIN, args.pipe, body, args.due_us, args.schedule)
    else
        new_entry(ONCE, DUE, args.pipe, body, args.due_us)
    end
    local number, size = size_of(body)
    count(args.schedule and 'recurrent' or 'deferred', number)
    count('used', size)
end

for place = 2, #ARGV do
    if args.place == 'grave' then
        add_letter(args.grave, ARGV[place], args)
        for _, of in ipairs(args.grave == KEPT and {} or {'accepted', 'handled', 'buried'}) do
            count(of, 1)
        end
    elseif args.place == 'waiting' then
        into_waiting(ARGV[place])
    else
        into_tube(ARGV[place], place == 2)
    end
end
state.arrived = args.number + args.count
commit()
return {state.arrived, figure('letter')}
