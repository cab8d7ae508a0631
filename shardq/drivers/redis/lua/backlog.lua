-- The figures: `Storage.backlog`, and `Storage.wait_for_quiet`.
-- keys: STATE SLEEPERS SLEEPS
-- needs: base sleepers
-- args: sleeper (lies down until there is quiet), woken, deferred
-- Returns the figures in the order of `Counts`.
if args.woken then
    get_up(args.woken)
end
if args.sleeper and state.leaving then
    return redis.error_reply('LEFT ' .. state.leaving)
end
if args.sleeper then
    redis.call('HDEL', SLEEPS, '') -- as in shared/frees.lua
    lie_down(args.sleeper, {args.deferred and ALL_DONE or QUIET})
end
local replies, taken = figure('replies'), figure('replies_taken')
return {
    figure('accepted') - replies, figure('handled') - taken, figure('buried'), figure('dead'), figure('deferred'),
    figure('recurrent'), figure('evicted'), replies, taken,
}
