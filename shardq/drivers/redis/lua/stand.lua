-- How the partition stands, as far as a move is concerned: `Movable.stand`.
-- keys: STATE
-- needs: base
return cmsgpack.pack({
    standing = standing(),
    gate = {
        number = figure('gate'), leaving = state.leaving, leaving_by = figure('leaving_by'), left = state.left,
        arriving = state.arriving, arriving_by = figure('arriving_by'), come_from = state.come_from,
        dropped = state.dropped,
    },
    accepted = figure('accepted'), handled = figure('handled'),
    arrived = figure('arrived'), used = figure('used'), token = figure('token'), evicted = figure('evicted'),
    buried = figure('buried') - figure('dead'), letter = figure('letter'),
    kept = figure('kept'),
})
