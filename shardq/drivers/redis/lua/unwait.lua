-- Equal messages wait no more: `Storage.remove` of what waits for its time, and `Storage.unschedule`.
-- keys: STATE DUE AGAIN STARVED WAITING WAITS TIMERS SLEEPERS SLEEPS CALLS CALLS_OLD
-- needs: base frees records sleepers equal room pending calls
-- args: pipe, schedules (whether those with a schedule are meant), producer, call
-- ARGV from 2 on: messages. Returns how many waited and wait no more, and whether it has to be called again (1): equal ones
-- are in more entries than a short script can take out.
local done = done_before()
if done then
    return done
end
if state.arriving then
    return {0, 0}
end
local ended, nbytes, again = 0, 0, 0
-- What leaves, by the number of an entry that waits once: the entry, and messages.
local unwanted = {}
-- So many messages of entries are looked at, or somewhat more. An entry takes as long as so many of them.
local left_to_examine, ENTRY = 2048, 8

-- Note that the message leaves all entries in which it waits once.
local function take_out(message)
    local number = waiting_entry(ONCE, args.pipe, message)
    while number do
        if not unwanted[number] then
            if left_to_examine <= 0 then
                again = 1
                return
            end
            unwanted[number] = {entry = entry_of(number), messages = {}}
            left_to_examine = left_to_examine - ENTRY - size_of(unwanted[number].entry.body)
        end
        redis.call('ZREM', WAITS, waits_prefix(ONCE, args.pipe, message) .. number)
        unwanted[number].messages[untraced(message)] = true
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
    local gone, their_bytes = leave_entry(number, its.entry, function(_, message)
        return its.messages[untraced(message)]
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
note_call({ended, again})
save()
return {ended, again}
