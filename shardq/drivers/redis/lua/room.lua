-- Whether there is room in a partition: for messages that go to several.
-- keys: STATE AGAIN STARVED SLEEPERS SLEEPS
-- needs: base takes_room sleepers room outbox
-- args: nbytes, most, sleeper (told of room where there is none), woken; or repaid (whether what was borrowed has room, and
--   is borrowed no more)
-- Returns 1, or 0 where there is none.
if state.leaving then
    return redis.error_reply('LEFT ' .. state.leaving)
end
if args.woken then
    get_up(args.woken)
end
if args.repaid then
    local owes = not owes_nothing(args.most)
    save()
    return owes and 0 or 1
end
if fits(args.nbytes, args.most) then
    return 1
end
if args.sleeper then
    lie_down(args.sleeper, {ROOM})
end
return 0
