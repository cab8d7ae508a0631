-- What was on its way from another partition comes, each entry once and in their order.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS EQUAL DUE AGAIN WAITING WAITS STARVED SLEEPERS SLEEPS CURSORS TALLIES CAME
-- needs: base takes_room records sleepers tallies threads equal tubes absent room pending outbox coming
-- args: source (a partition), numbers (of the entries), most (bytes beyond which there is no room for new messages)
-- ARGV from 2 on: entries. CURSORS has, by the source, the number of the last that came.
-- Returns that; whether it has to be called again: the index of equal messages of a tube is not complete yet, or a short
-- script can take no more; and whether it is full here: then the room of what came stays taken in its source.
local source = int(args.source)
local last, again = tonumber(redis.call('HGET', CURSORS, source) or 0), 0

local is_full = excess(args.most) > 0
local left_to_examine = 512
for at, number in ipairs(args.numbers) do
    if number > last then
        if left_to_examine <= 0 then
            again = 1
            break
        end
        local said, bodies = entry_away(ARGV[at + 1])
        local _, nbytes = size_of_all(bodies)
        local kept = not state.arriving and wanted_of(said, bodies)
        if not kept then
            again = kept == nil and 1 or 0
            break
        end
        store_entry_away(said, kept)
        is_full = is_full or args.most and figure('used') > args.most
        if is_full then
            count('borrowed', nbytes)
        end
        left_to_examine = left_to_examine - (is_examined(said) and size_of_all(bodies) or 0)
        last = number
    end
end
redis.call('HSET', CURSORS, source, int(last))
commit()
return {last, again, is_full and 1 or 0}
