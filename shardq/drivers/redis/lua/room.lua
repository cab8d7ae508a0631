-- Whether there is room in a partition: for messages that go to several.
-- keys: STATE AGAIN STARVED SLEEPERS SLEEPS
-- needs: base takes_room sleepers room outbox
-- args: most; nbytes, sleeper (told of room where there is none), woken; or owes (asks how much there is beyond `most`)
-- Returns 1, or 0 where there is none; or how many bytes.
if state.leaving then
    return redis.error_reply('LEFT ' .. state.leaving)
end
if args.woken then
    get_up(args.woken)
end
if args.owes then
    local over = excess(args.most)
    save()
    return over
end
if fits(args.nbytes, args.most) then
    if args.woken then
        wake_for_room(1)
    end
    return 1
end
if args.sleeper then
    lie_down(args.sleeper, {ROOM})
end
return 0
