-- A letter leaves its grave, and a message comes into a tube: `Storage.requeue`.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS EQUAL WAITS AGAIN STARVED GRAVES LETTERS RESULTS SLEEPERS SLEEPS CALLS CALLS_OLD OUTBOX OUTWARD TALLIES CAME
-- needs: base takes_room records sleepers tallies threads equal tubes room outbox letters calls
-- args: grave, sequence, pipe, front, target (the partition of the pipe, where it is another one), most, producer, call
-- ARGV[2]: body with the message. Returns 1; 0 without room, -1 where the letter is gone.
local done = done_before()
if done then
    return done
end
check_memory()
local place = place_of(args.grave, args.sequence)
if redis.call('HEXISTS', LETTERS, place) == 0 then
    return -1
end
local _, nbytes = size_of(ARGV[2])
if not fits(nbytes, args.most) then
    return 0
end
local key, name = split_pipe(args.pipe)
if args.target then
    put_away(args.target, {pipes = {args.pipe}, front = args.front or nil}, {ARGV[2]})
else
    add(key, thread(key), args.front and 'f' .. name or name, ARGV[2])
end
drop_letters(args.grave, {place})
tell_of_room()
note_call(1)
commit()
return 1
