-- Lie down until messages leave, where the server itself has no memory: `Storage.append_when_room`.
-- keys: SLEEPERS SLEEPS
-- needs: texts frees sleepers
-- args: sleeper
get_up(args.sleeper)
lie_down(args.sleeper, {ROOM})
return 1
