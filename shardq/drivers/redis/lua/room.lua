-- Whether there is room in a partition: for messages that go to several.
-- keys: STATE AGAIN STARVED SLEEPERS SLEEPS
-- needs: base takes_room sleepers room
-- args: nbytes, most, sleeper (told of room where there is none), woken
-- Returns 1, or 0 where there is none.
if state.leaving then
    return redis.error_reply('LEFT ' .. state.leaving)
end
if args.woken then
    get_up(args.woken)
end
if fits(args.nbytes, args.most) then
    return 1
end
if args.sleeper then
    lie_down(args.sleeper, {ROOM})
end
return 0
