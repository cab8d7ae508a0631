-- Equal messages wait no more: `Storage.remove` of what waits for its time, and `Storage.unschedule`.
-- keys: STATE DUE AGAIN STARVED WAITING WAITS TIMERS SLEEPERS SLEEPS CALLS CALLS_OLD
-- needs: base frees records sleepers equal room pending calls
-- args: pipe, schedules (whether those with a schedule are meant), producer, call
-- ARGV from 2 on: messages. Returns how many waited.
local done = done_before()
if done then
    return done
end
if state.arriving then
    return 0
end
local ended, nbytes = 0, 0
-- What leaves, by the number of an entry that waits once.
local unwanted = {}

-- Note that the message leaves all entries in which it waits once.
local function take_out(message)
    local number = waiting_entry(ONCE, args.pipe, message)
    while number do
        redis.call('ZREM', WAITS, waits_prefix(ONCE, args.pipe, message) .. number)
        unwanted[number] = unwanted[number] or {}
        unwanted[number][untraced(message)] = true
        number = waiting_entry(ONCE, args.pipe, message)
    end
end

for place = 2, #ARGV do
    local message = ARGV[place]
    if args.schedules then
        local number = waiting_entry(AGAIN_AND_AGAIN, args.pipe, message)
        if number then
            local entry = entry_of(number)
            local _, their_bytes = size_of(entry.body)
            forget_entry(AGAIN_AND_AGAIN, AGAIN, number, entry)
            redis.call('ZREM', STARVED, number)
            ended, nbytes = ended + 1, nbytes + their_bytes
        end
    else
        take_out(message)
    end
end
for number, its in pairs(unwanted) do
    local gone, their_bytes = leave_entry(number, entry_of(number), function(_, message)
        return its[untraced(message)]
    end)
    ended, nbytes = ended + #gone, nbytes + their_bytes
end
count('used', -nbytes)
if args.schedules then
    count('recurrent', -ended)
end
if ended > 0 then
    tell_of_room()
end
note_call(ended)
save()
return ended
