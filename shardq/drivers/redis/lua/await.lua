-- Lie down until messages leave, where the server itself has no memory: `Storage.append_when_room`.
-- keys: SLEEPERS SLEEPS
-- needs: texts frees sleepers
-- args: sleeper, woken
if args.woken then
    get_up(args.woken)
end
if args.sleeper then
    lie_down(args.sleeper, {ROOM})
end
return 1
