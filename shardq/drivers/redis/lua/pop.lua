-- Messages leave: `Storage.pop`.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS EQUAL WAITS AGAIN STARVED SLEEPERS SLEEPS
-- needs: base frees records sleepers threads equal tubes room
-- args: key, token, name (of the tube), through (messages below that number leave; nil: none)
local its = held(args.key, args.token)
if not its then
    return fenced(args.key, args.token)
end
if args.through and drop_below(args.key, its, args.name, args.through) > 0 then
    tell_of_room()
end
commit()
return 1
