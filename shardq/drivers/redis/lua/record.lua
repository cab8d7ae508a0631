-- An operator did something: `Auditable.record`. STATE has `actions`, which numbers them from 1. ACTIONS has the last ones:
-- each in the field that is the remainder of its number, where it takes the place of the one that is forgotten; it
-- begins with its number and the time, in digits, each followed by a space.
-- keys: STATE SLEEPS CALLS CALLS_OLD ACTIONS
-- needs: base calls
-- args: most (actions that are remembered), producer, call; then the action
if not made_before() then
    count('actions', 1)
    local number = figure('actions')
    redis.call('HSET', ACTIONS, int(number % args.most), int(number) .. ' ' .. int(now) .. ' ' .. ARGV[2])
    note_call(1)
    save()
end
return 1
