-- All messages are dropped: `Movable.forget` and `clear`.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS EQUAL DUE AGAIN STARVED WAITING WAITS GRAVES LETTERS RESULTS SLEEPERS SLEEPS
-- needs: base frees sleepers gate
-- args: move, arriving (whether those that came by it are meant; else those that left by it), opens (the partition is
--   open from then on; else it takes nothing more of the move)
local left = state.left and state.leaving_by == args.move
local mine = args.arriving and state.arriving and state.arriving_by == args.move
if (args.arriving and not mine) or (not args.arriving and not left) or (state.arriving and not args.arriving) then
    return 0
end
for place = 2, 16 do
    redis.call('UNLINK', KEYS[place])
end
state.handled, state.replies_taken = state.accepted, state.replies
state.deferred, state.recurrent, state.dead, state.kept, state.used = 0, 0, 0, 0, 0
state.lent, state.borrowed, state.pauses = nil, nil, nil
state.buried, state.evicted = 0, 0 -- the storage that has the messages goes on counting
if mine then
    state.arriving_by = nil
end
if args.opens then
    state.arriving, state.dropped = nil, nil
    change_gate()
end
save()
return 1
