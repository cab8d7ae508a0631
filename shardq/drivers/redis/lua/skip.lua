-- A message that comes again and again leaves out its next time: `Deferrals.skip`.
-- keys: STATE DUE AGAIN STARVED WAITING WAITS TIMERS SLEEPERS SLEEPS CALLS CALLS_OLD
-- needs: base frees records sleepers equal room pending calls
-- args: pipe, schedule, due_us (the time that it leaves out), next_us (when it comes then; false: never), producer, call
-- ARGV 2: the message. Returns 1; 0: it has no such time any more; or the time of this clock, where `next_us` has passed.
local done = done_before()
if done then
    return done
end
local number = not state.arriving and waiting_entry(AGAIN_AND_AGAIN, args.pipe, ARGV[2])
local entry = number and entry_of(number)
if not entry or entry.due_us ~= args.due_us or entry.schedule ~= args.schedule then
    return 0
end
if args.next_us and args.next_us <= now then
    return now
end
redis.call('ZREM', STARVED, number)
if args.next_us then
    entry.due_us = args.next_us
    store_entry(number, entry)
    redis.call('ZADD', AGAIN, args.next_us, number)
else
    local _, nbytes = size_of(entry.body)
    forget_entry(AGAIN_AND_AGAIN, AGAIN, number, entry)
    count('recurrent', -1)
    count('used', -nbytes)
    tell_of_room()
end
note_call(1)
save()
return 1
