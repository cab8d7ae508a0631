-- What handlers send on: stored in the step in which the batch leaves that it comes of, or not at all.
-- keys: STATE SLEEPS
-- args: outputs: pipes, absent and due_us (by pipe; false: it is not, and at once), most (bytes there may be), here (this
--   partition), away: those that are put away, for other partitions or for this one, in several entries where a short
--   script could not look at all: target, pipes, absent and due_us; results (nil: none): number, terms (see results.lua)

-- Whether outputs come with what a hand acknowledges, which is still there. The first command of a script that changes
-- anything: where they come, the server refuses it if it has no memory left, as in takes_room.lua; else it refuses none.
local function outputs_come(hand)
    local its = args.outputs and look_at(hand.key)
    local held_yet = its and its.token == hand.token and its.lease_end > now
    if held_yet and stands_below(its, hand.name, hand.through) then
        redis.call('SETRANGE', STATE, 0, '')
        return true
    end
    redis.call('HDEL', SLEEPS, '')
    return false
end

-- Make room for results, which stand behind argument number `before`, in the place of older ones. `apart`: so many bytes
-- more than its capacity the partition may have. Returns why that cannot be, as `refusal_of_outputs`.
local function refusal_of_results(results, before, apart)
    local nbytes, terms = 0, results.terms
    for place = before + 1, before + results.number do
        nbytes = nbytes + #ARGV[place]
    end
    local dropped, has_room = make_room_for_results(
        terms, results.number, nbytes, terms.capacity and terms.capacity + apart
    )
    if not has_room then
        return dropped and -2 or -1
    end
end

-- Store them; the bodies stand behind argument number `before`. Returns why that cannot be: -1, there is no room; -2, it
-- has to be called again, as `append.lua`.
local function refusal_of_outputs(before)
    local outputs = args.outputs
    -- Behind what was put away here nothing comes at once: it would pass that.
    if outputs.pipes[1] and first_with(OUTWARD, outward_prefix(outputs.here)) then
        local own = {target = outputs.here, pipes = outputs.pipes, absent = outputs.absent, due_us = outputs.due_us}
        outputs.away = outputs.away or {}
        table.insert(outputs.away, 1, own)
        outputs.pipes = {}
    end
    local bodies, number, nbytes = wanted_bodies(outputs, before)
    if not bodies then
        return -2
    end
    local away, at = {}, before + #outputs.pipes
    for place, its in ipairs(outputs.away or {}) do
        away[place] = {}
        for _ = 1, #its.pipes do
            at = at + 1
            table.insert(away[place], ARGV[at])
        end
        local some, their_bytes = size_of_all(away[place])
        number, nbytes = number + some, nbytes + their_bytes
    end
    local apart = figure('borrowed')
    for _, lent in pairs(state.lent or {}) do
        apart = apart + lent
    end
    if number > 0 and not fits(nbytes - apart, outputs.most) then
        return -1
    end
    local results = outputs.results
    local refusal = results and refusal_of_results(results, at, apart - nbytes)
    if refusal then
        return refusal
    end
    for place, pipe in ipairs(outputs.pipes) do
        local body, due_us = bodies[place], outputs.due_us and outputs.due_us[place]
        if body and due_us then
            defer(pipe, body, due_us)
        elseif body then
            arrive(pipe, body, outputs.absent and outputs.absent[place])
        end
    end
    for place, its in ipairs(outputs.away or {}) do
        put_away(its.target, {pipes = its.pipes, absent = its.absent, due_us = its.due_us}, away[place])
    end
    for place = at + 1, at + (results and results.number or 0) do
        add_letter(KEPT, ARGV[place], results.terms)
    end
end
