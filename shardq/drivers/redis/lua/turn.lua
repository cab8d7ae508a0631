-- Acknowledge a batch and take the next: `Storage.turn` and `Storage.rest`.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS EQUAL DUE AGAIN WAITING WAITS STARVED SLEEPERS SLEEPS CALLS CALLS_OLD OUTBOX OUTWARD TALLIES CAME
-- keys with outputs: GRAVES LETTERS RESULTS
-- needs: base records sleepers tallies threads equal tubes absent batches room pending outbox letters results without_outputs ready calls
-- args: hand (key, token; name, from and through of what leaves), terms (of its handler), stay, lease_us, owner, sleeper (lies
--   down where there is nothing), woken (the sleeper lay down before), net_us (see `lie_down_in_turn`), hold (another
--   thread of this partition is not claimed), tallies (what the worker did since it last said so: see
--   shared/tallies.lua), here (this partition, with tallies), outputs, producer, call
-- ARGV[2]: served (false: all handlers) and the terms of each handler. ARGV from 3 on: bodies of the outputs
-- Returns what is said of the hand, then the records of its batch. Without a key there is none. With `sleeps` the sleeper
-- lies: it looks again after `for_us` and after `looks_in_us` microseconds at the latest. With `refusal` nothing changed:
-- see `shared/outputs.lua`. Where the content goes elsewhere, what is in the hand is acknowledged, and nothing handed out.
local hand, lease_us = args.hand, args.lease_us
local others = cmsgpack.unpack(ARGV[2])
local served = others.served or nil

-- The claim that a turn made whose answer was lost.
local function claimed_before()
    local before = made_before()
    local its = before and before[1] and held(before[1][1], before[1][2])
    return its and before[1][1], its
end

-- Add to what is said whether something is put away here: about once a second, in case the one that put it away died.
local function with_news(told, schedules)
    local away = args.here and first_with(OUTWARD, outward_prefix(args.here)) and true
    if schedules or away then
        local said = cmsgpack.unpack(told[1])
        said.schedules, said.away = schedules, away
        told[1] = cmsgpack.pack(said)
    end
    return told
end

local function reply(key, its, batch)
    local told, schedules = key and reply_with(key, its, batch) or {cmsgpack.pack({sleeps = false})}, schedule_is_due()
    if not batch and args.sleeper and not schedules then
        local looks_in_us = lie_down_in_turn(args.sleeper, work_events(served))
        if its then
            its.bell = args.sleeper
        end
        local instant = next_instant()
        local said = {sleeps = true, for_us = instant and math.max(0, instant - now), looks_in_us = looks_in_us}
        said.away = state.lent ~= nil or redis.call('EXISTS', OUTWARD) == 1
        if key then
            said.key, said.token = key, its.token
        end
        told = {cmsgpack.pack(said)}
    else
        told = with_news(told, schedules)
    end
    commit()
    return told
end

local function claim(key)
    local its = thread(key)
    begin_claim(key, its, lease_us)
    note_call({key, its.token})
    local batch = hand_out(key, its, others.terms[handler_of(key)])
    local told = with_news(reply_with(key, its, batch))
    commit()
    return told
end

local outputs = outputs_come(hand)
if args.woken then
    get_up(args.woken)
end
local key, its = claimed_before()
local again
if its then
    local batch = hand_out(key, its, others.terms[handler_of(key)])
    commit()
    return reply_with(key, its, batch)
end
if hand then
    its = held(hand.key, hand.token)
    if not its or (hand.through and not may_leave(its, hand.name, hand.from, hand.through)) then
        return fenced(hand.key, hand.token)
    end
    again = note_turn(its)
    local refusal = outputs and refusal_of_outputs(2)
    if refusal then
        commit()
        return {cmsgpack.pack({refusal = refusal})}
    end
    its.bell, its.lease_end = nil, math.max(its.lease_end, now + lease_us)
    if hand.through and drop_below(hand.key, its, hand.name, hand.through) > 0 then
        tell_of_room()
    end
end
tally_all(not again and args.tallies)
if state.leaving then
    commit()
    if hand and hand.through then
        return reply_with(hand.key, its)
    end
    return redis.error_reply('LEFT ' .. state.leaving)
end
end_what_is_over()
promote()
local batch = hand and args.stay and hand_out(hand.key, its, args.terms)
if batch then
    return reply(hand.key, its, batch)
end
local following = not args.hold and next_ready(served)
if following then
    if hand then
        end_claim(hand.key, its)
    end
    return claim(following)
end
if not hand then
    return reply()
end
return reply(hand.key, its, not args.stay and not args.hold and hand_out(hand.key, its, args.terms) or nil)
