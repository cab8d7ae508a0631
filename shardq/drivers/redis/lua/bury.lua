-- A letter takes the place of a message: `Storage.bury`.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS EQUAL WAITS AGAIN STARVED GRAVES LETTERS RESULTS SLEEPERS SLEEPS CALLS CALLS_OLD TALLIES CAME
-- needs: base frees records sleepers tallies threads equal tubes room letters calls
-- args: key, token, name, sequence, grave, most_letters, capacity, most_bytes (of a grave), partition, partitions,
--   reason (why the attempt failed; nil: it did not), producer, call
-- ARGV[2]: the letter. Returns whether it is there (1), there is no room (-1), or it has to be called again (-2): there are
-- more to drop than a short script can; and how many older letters went.
local its = held(args.key, args.token)
if not its then
    return fenced(args.key, args.token)
end
local before = made_before()
if before then
    return before[1]
end
local tube, letter, head = its.tubes[args.name], ARGV[2], nil
if tube and tube.count > 0 then
    each_record(its, args.name, tube, tube.head, function(chunk, found)
        local skip = math.max(0, tube.head - found.first)
        head = {number = found.first + skip, nbytes = bytes_of(chunk, found, skip, 1)}
        return true
    end)
end
if not head or head.number ~= args.sequence then
    commit()
    return {1, 0}
end
if is_beyond_hand(its, args.name, args.sequence + 1) then
    return fenced(args.key, args.token)
end
local evicted, has_room = make_room(args.grave, #letter - head.nbytes, args)
if not evicted then
    commit()
    return {-1, 0}
end
count('evicted', evicted)
if not has_room then
    commit()
    return {-2, evicted}
end
drop_below(args.key, its, args.name, head.number + 1)
tally_some(DEAD, handler_of(args.key), 1)
if args.reason then
    tally_some(REASONS[args.reason], handler_of(args.key), 1)
end
add_letter(args.grave, letter, args)
count('buried', 1)
tell_of_room()
note_call({1, evicted})
commit()
return {1, evicted}
