-- Messages that come again and again: `Storage.append` with a schedule.
-- keys: STATE DUE AGAIN TIMERS WAITING WAITS STARVED SLEEPERS SLEEPS CALLS CALLS_OLD
-- needs: base takes_room records sleepers equal room pending calls
-- args: pipes, due_us, schedule, most, absent, sleeper, woken, producer, call
-- ARGV from 2 on: bodies. Returns what `append.lua` does.
local done = done_before()
if done then
    return done
end
check_memory()
if args.woken then
    get_up(args.woken)
end
local new, nbytes, number, earliest = {}, 0, 0, next_instant()
local seen, changed = {}, {}
for place, pipe in ipairs(args.pipes) do
    for _, message in ipairs(messages_in(ARGV[place + 1])) do
        local entry = waiting_entry(AGAIN_AND_AGAIN, pipe, message)
        local mark = pipe .. '\0' .. untraced(message)
        local first = not seen[mark]
        seen[mark] = true
        if not entry and first then
            new[#new + 1] = {pipe, message}
            nbytes = nbytes + #message
        end
        if entry and first and not args.absent then
            changed[#changed + 1] = entry
        end
        if not args.absent or (first and not entry) then
            number = number + 1
        end
    end
end
if state.arriving or (#new > 0 and not fits(nbytes, args.most)) then
    return without_room()
end
if args.woken then
    wake_for_room(1)
end
for _, entry_number in ipairs(changed) do
    local entry = entry_of(entry_number)
    if entry.schedule ~= args.schedule then
        entry.schedule, entry.due_us = args.schedule, args.due_us
        store_entry(entry_number, entry)
        redis.call('ZREM', STARVED, entry_number)
        redis.call('ZADD', AGAIN, args.due_us, entry_number)
    end
end
for _, its in ipairs(new) do
    new_entry(AGAIN_AND_AGAIN, AGAIN, its[1], body_of({its[2]}), args.due_us, args.schedule)
end
count('recurrent', #new)
count('used', nbytes)
reckon_with(args.due_us, earliest)
number = note_call(number)
save()
return number
